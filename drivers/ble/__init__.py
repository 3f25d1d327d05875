"""Bluetooth Low Energy: devices that advertise what they measure, and meters that are asked over GATT."""
