"""The commands `edge-agent profiles`."""

from pathlib import Path

import typer

from edge_agent.cli.options import Json, Own

profiles = typer.Typer(help="Look at the profiles of devices, and check your own.", no_args_is_help=True)


@profiles.command("list")
def list_profiles(own: Own = None, as_json: Json = False) -> None:
    """List all profiles."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import list_profiles as run

    show(lambda: run(own), as_json=as_json)


@profiles.command("show")
def show_profile(name: str, own: Own = None, as_json: Json = False) -> None:
    """Show one profile: its points and where they stand."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import show_profile as run

    show(lambda: run(name, own), as_json=as_json)


@profiles.command("check")
def check_profile(file: Path, as_json: Json = False) -> None:
    """Check a profile file. Exit code 1: it has mistakes."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import check_profile as run

    show(lambda: run(file), as_json=as_json)


@profiles.command("schema")
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of profile files, for editors."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import schema as run

    show(run, as_json=as_json)
