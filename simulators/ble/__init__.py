"""Bluetooth devices at the air, and BlueZ's D-Bus interface before them, so that bleak runs unchanged."""
