"""Doors: a controller with HTTP, and readers on an OSDP line, which misbehave on request."""
