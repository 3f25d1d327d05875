"""Where the collector keeps what gateways sent, and what was computed from it."""
