"""Serial lines with simulated devices on them: a pseudo-terminal, or a serial server's TCP port."""
