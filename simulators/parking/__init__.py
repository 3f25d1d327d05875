"""A car park: LoRaWAN sensors behind a network server and its broker, and zone controllers on a wire."""
