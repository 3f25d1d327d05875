"""The gateway: polls its devices, keeps what they said, and hands it to the collector."""
