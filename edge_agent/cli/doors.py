"""The commands `edge-agent door`."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.options import HERE, Config, Device, Json

doors = typer.Typer(help="Open, lock and unlock doors, and give passes to visitors.", no_args_is_help=True)
passes = typer.Typer(help="Passes of visitors.", no_args_is_help=True)
doors.add_typer(passes, name="pass")

Door = Annotated[int, typer.Option("--door", min=1, max=9999, help="Number of the door at its controller.")]
PassName = Annotated[str, typer.Argument(help="Names the pass: letters, digits, - and _.")]


def _door(action: str, device: str, number: int, config: Path, as_json: bool) -> None:
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import door as run

    show(lambda: run(config, device, action, number), as_json=as_json)


@doors.command("open")
def open_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Let one person through."""
    _door("open_once", device, door, config, as_json)


@doors.command("lock")
def lock_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Close it for all but those who have a right."""
    _door("lock", device, door, config, as_json)


@doors.command("unlock")
def unlock_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Open it for everybody, until it is locked."""
    _door("unlock", device, door, config, as_json)


@passes.command("put")
def put_pass(
    device: Device,
    name: PassName,
    door: Annotated[list[int], typer.Option(help="A door that it opens; may be given again.")],
    hours: Annotated[float, typer.Option(min=0.1, max=8784, help="How long it is good.")],
    begins: Annotated[
        str | None, typer.Option("--from", help="Such as 2026-09-21T08:00; at once if not given.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="A card, whose number is asked for; else a PIN is made up.")
    ] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Give a visitor a pass; it ends by itself. A PIN is shown once."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import put_pass as run

    show(
        lambda: run(config, device, name, doors=door, begins=begins, hours=hours, card=card), as_json=as_json
    )


@passes.command("take")
def take_pass(device: Device, name: PassName, config: Config = HERE, as_json: Json = False) -> None:
    """Take a pass away before it ends."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import take_pass as run

    show(lambda: run(config, device, name), as_json=as_json)
