"""Brings what is in the buffer to the collector, and what the collector says back."""
