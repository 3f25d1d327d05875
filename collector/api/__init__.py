"""The collector's answers to programs: HTTP under /api/v1, metrics and health."""
