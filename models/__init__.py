"""What both sides agree on, and what the numbers mean: pure, without I/O, clock or framework."""
