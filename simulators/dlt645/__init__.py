"""Electricity meters that speak DL/T 645, on a pseudo-terminal or behind a serial server."""
