"""Who is who: the collector's certificate authority, tokens, enrolment of gateways, peers of connections."""
