"""How the command `edge-agent` is called; `edge_agent.commands` does what it says."""

from edge_agent.cli.main import app

__all__ = ["app"]
