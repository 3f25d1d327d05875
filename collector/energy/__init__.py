"""Keeps the consumption of every hour in step with the readings."""
