"""Brings another version of the agent into use, and back when it is not well."""
