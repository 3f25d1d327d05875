"""Commands at the gateway: fetched from the collector or given on site, carried out once, and told of."""
