"""The commands `edge-agent update`."""

import platform
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.options import HERE, Config, Json

updates = typer.Typer(help="Bring a signed release into use, and go back.", no_args_is_help=True)


@updates.command()
def stage(
    file: Annotated[Path, typer.Argument(help="The release.")], config: Config = HERE, as_json: Json = False
) -> None:
    """Check a release and bring it to this gateway. Nothing that runs is touched."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import stage as run

    show(lambda: run(config, file), as_json=as_json)


@updates.command()
def apply(
    version: Annotated[str | None, typer.Argument(help="The newest that is staged, if not given.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for what comes of it.")] = True,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Try a staged release. Exit code 1: it was not well, and the version before it runs again."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import apply as run

    show(lambda: run(config, version, wait=wait), as_json=as_json)


@updates.command()
def status(config: Config = HERE, as_json: Json = False) -> None:
    """Show which version is in use, which are staged, and what has happened."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import status as run

    show(lambda: run(config), as_json=as_json)


@updates.command()
def rollback(config: Config = HERE, as_json: Json = False) -> None:
    """Use the version again that was used before."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import roll_back as run

    show(lambda: run(config), as_json=as_json)


@updates.command("make-key")
def make_key(file: Path, as_json: Json = False) -> None:
    """Make a key that signs releases. Not on a gateway."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import make_key as run

    show(lambda: run(file), as_json=as_json)


@updates.command("make")
def make(
    tree: Annotated[Path, typer.Argument(help="A folder that `pip install --target` has filled.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    key: Annotated[Path, typer.Option(help="The release key.")],
    version: Annotated[str, typer.Option(help="Such as 1.4.2.")],
    from_version: Annotated[str, typer.Option(help="The oldest that may be updated to it.")] = "0.0",
    machine: Annotated[str, typer.Option(help="As `uname -m` says it; any without compiled code.")] = "",
    as_json: Json = False,
) -> None:
    """Pack and sign a release. Not on a gateway."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import make_release as run

    machine = machine or platform.machine()
    show(
        lambda: run(tree, target, key, version=version, from_version=from_version, machine=machine),
        as_json=as_json,
    )
