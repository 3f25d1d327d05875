"""Modbus: reads the registers that a profile names, in few requests, and decodes them."""
