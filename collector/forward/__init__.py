"""Forwards what gateways have sent to a higher collector, by the same uplink that a gateway uses."""
