"""The collector: intake → store → energy → insight → alerts → api."""
