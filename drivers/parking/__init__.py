"""Parking bays: LoRaWAN sensors through ChirpStack, and zone controllers on RS-485."""
