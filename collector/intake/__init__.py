"""Where batches arrive: verified, opened, stored in one transaction, and only then acknowledged."""
