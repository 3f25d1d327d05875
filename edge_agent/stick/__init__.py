"""A collector without a network: batches go to it on a stick, and its receipts come back on one."""
