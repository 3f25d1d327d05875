"""Keeps readings and events on disk until the collector has them, and for a while after."""
