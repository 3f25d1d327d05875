"""The commands `collector config`."""

from pathlib import Path
from typing import Annotated

import typer

configs = typer.Typer(
    help="Give gateways other configurations, and see what is active where.", no_args_is_help=True
)

Dir = Annotated[
    Path, typer.Option("--dir", envvar="GATEHOUSE_COLLECTOR_DIR", help="The folder of the collector.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Gateway = Annotated[str, typer.Argument(help="Id of the gateway; see collector gateways.")]
HERE = Path("collector-data")


@configs.command("push")
def push(
    gateway: Gateway,
    file: Annotated[Path, typer.Argument(help="What its gateway.yaml is to be.")],
    more: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", help="A list of devices or an own profile, which stands beside FILE as there."
        ),
    ] = None,
    why: Annotated[str, typer.Option("--why", help="For the record.")] = "",
    key: Annotated[
        str | None, typer.Option(help="The same key again pushes the same again: it is done once.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also when the gateway runs something else than it told last.")
    ] = False,
    confirm_within: Annotated[
        float,
        typer.Option(min=5, max=3600, help="Seconds in which this collector must be reached with it."),
    ] = 120,
    expires_in: Annotated[
        float, typer.Option(min=60, max=604_800, help="Seconds after which it is not begun with any more.")
    ] = 86_400,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for what comes of it.")] = False,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Give a gateway another configuration. Exit code 1 with --wait: it is not known to be kept.

    The gateway checks it as a whole, and takes it back by itself unless it reaches this collector with it.
    """
    from collector.commands.answer import show
    from collector.commands.config import push as run

    show(
        lambda: run(
            folder,
            gateway,
            file,
            more or (),
            why=why,
            key=key,
            force=force,
            confirm_within_s=confirm_within,
            expires_in_s=expires_in,
            wait=wait,
        ),
        as_json=as_json,
    )


@configs.command("pushes")
def pushes(
    gateway: Annotated[str | None, typer.Argument(help="Only to this gateway.")] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """List what was pushed and what came of it; the newest first."""
    from collector.commands.answer import show
    from collector.commands.config import list_pushes as run

    show(lambda: run(folder, gateway), as_json=as_json)


@configs.command("history")
def history(gateway: Gateway, folder: Dir = HERE, as_json: Json = False) -> None:
    """List what was active at a gateway since when, and who made it so; the newest first."""
    from collector.commands.answer import show
    from collector.commands.config import history as run

    show(lambda: run(folder, gateway), as_json=as_json)


@configs.command("show")
def show_active(
    gateway: Gateway,
    version: Annotated[int | None, typer.Argument(help="The newest if not given.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="NAME", help="Print just this file, as it is.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Show all files of what is, or was, active at a gateway."""
    from collector.commands.answer import show
    from collector.commands.config import show as run

    show(lambda: run(folder, gateway, version, only), as_json=as_json)


@configs.command("diff")
def diff(
    gateway: Gateway,
    first: Annotated[int | None, typer.Argument(metavar="[A]", help="The newest if not given.")] = None,
    second: Annotated[int | None, typer.Argument(metavar="[B]", help="The newest if not given.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Compare with this file, in place of B.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Compare two configurations that were active at a gateway, or one with a file."""
    from collector.commands.answer import show
    from collector.commands.config import diff as run

    show(lambda: run(folder, gateway, first, second, file), as_json=as_json)
