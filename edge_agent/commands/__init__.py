"""What the commands of `edge-agent` do; `edge_agent.cli` says how they are called."""
