"""Commands to devices: given by people and programs, fetched by gateways, and kept with what came of them."""
