"""The commands `edge-agent quarantine`."""

from pathlib import Path

import typer

from edge_agent.cli.options import HERE, Config, Json

quarantine = typer.Typer(
    help="Look at what a collector refused as wrong; all else was sent.", no_args_is_help=True
)


@quarantine.command("list")
def list_refused(config: Config = HERE, as_json: Json = False) -> None:
    """List each item with the reason."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.quarantine import list_refused as run

    show(lambda: run(config), as_json=as_json)


@quarantine.command("export")
def export_refused(file: Path, config: Config = HERE, as_json: Json = False) -> None:
    """Write them to a new file, a line of JSON each."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.quarantine import export_refused as run

    show(lambda: run(config, file), as_json=as_json)
