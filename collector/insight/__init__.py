"""Looks for what is wrong, says what it costs, and calls for a person."""
