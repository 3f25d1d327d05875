"""The fault lab: what can go wrong around gateways and collectors, planned by seed and done to real parts."""
