"""Data that a technician copies to a gateway: device profiles and samples."""
