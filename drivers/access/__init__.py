"""Doors: controllers that tell events by HTTP, and readers on an OSDP line."""
