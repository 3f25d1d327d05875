"""The history of the tables: one file a step in `versions`, run by `collector.store.upgrade`."""

HEAD = "0001"
"""The newest step. Steps are numbered, so that a program can tell an older database from a newer one."""
