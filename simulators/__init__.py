"""Devices at the wire, written from their protocols, which misbehave on request."""
