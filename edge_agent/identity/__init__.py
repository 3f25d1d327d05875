"""Who this gateway is, and how it becomes and stays so."""
