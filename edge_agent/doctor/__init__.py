"""Looks a gateway over on site: everything between its clock and its collector, in ten seconds."""
