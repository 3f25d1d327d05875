"""Modbus meters at the wire, written from the Modbus specification."""
