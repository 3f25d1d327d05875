"""What the subcommands of `collector` do; `collector.cli` has their options."""
