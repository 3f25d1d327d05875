"""Half an hour of everything that can go wrong, on real processes, and the books at its end."""
