"""`python -m edge_agent` is `edge-agent`, which is how releases are started."""

from edge_agent.cli import app

app()
