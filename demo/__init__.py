"""Plays the whole of Gatehouse on one machine: meters, an edge agent and a collector, on a fast clock."""
