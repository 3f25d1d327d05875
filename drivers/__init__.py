"""One folder per device family: how to talk to a device and what its bytes mean."""
