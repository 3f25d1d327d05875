"""Water, heat and gas meters that speak CJ/T 188, on a pseudo-terminal or behind a serial server."""
