"""The commands `edge-agent config`."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.options import HERE, Config, Json

configs = typer.Typer(
    help="Look at the versions of the configuration, and go back to one.", no_args_is_help=True
)

Only = Annotated[str | None, typer.Option("--only", metavar="NAME", help="Print just this file, as it is.")]
Why = Annotated[str, typer.Option("--why", help="For the record.")]


@configs.command("history")
def history(config: Config = HERE, as_json: Json = False) -> None:
    """List what was active since when, and who made it so; the newest first."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import history as run

    show(lambda: run(config), as_json=as_json)


@configs.command("show")
def show_version(
    version: Annotated[int | None, typer.Argument(help="The newest if not given.")] = None,
    only: Only = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Show all files of one version."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import show as run

    show(lambda: run(config, version, only), as_json=as_json)


@configs.command("diff")
def diff(
    first: Annotated[int | None, typer.Argument(metavar="[A]", help="The newest if not given.")] = None,
    second: Annotated[
        int | None, typer.Argument(metavar="[B]", help="What the files say now if not given.")
    ] = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Compare two versions, or one with what the files say now."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import diff as run

    show(lambda: run(config, first, second), as_json=as_json)


@configs.command("rollback")
def rollback(
    version: Annotated[int | None, typer.Argument(help="The last that was another one if not given.")] = None,
    why: Why = "",
    discard: Annotated[
        bool, typer.Option("--discard", help="Give up changes of the files that were never active.")
    ] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Write the files of a version again and load them, which makes a new version."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import rollback as run

    show(lambda: run(config, version, why=why, discard=discard), as_json=as_json)


@configs.command("check")
def check(
    file: Annotated[
        Path | None, typer.Argument(help="What is to become the configuration; that itself if not given.")
    ] = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Check a file with all that stands beside the configuration. Exit code 1: it has mistakes."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import check as run

    show(lambda: run(config, file), as_json=as_json)
