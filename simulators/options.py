"""The options that the commands of all families have in common."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from models.document import Mistake
from simulators.faults import Fault, FaultMistake, parse_fault


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except FaultMistake as err:
        raise typer.BadParameter(str(err)) from err


def _parameter(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as err:
        raise typer.BadParameter(f"'{text}' is not NAME=NUMBER, such as ct=20") from err


Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same building and the same faults.")]
Faults = Annotated[
    list[Fault] | None,
    typer.Option(
        "--fault",
        parser=_fault,
        metavar="KIND=PROBABILITY[:ARGUMENT]",
        help="lost=0.01, late=0.01:3s, exception=0.01:4, silence=0.001:60s, …; repeat for more.",
    ),
]
Speed = Annotated[float, typer.Option(min=0.001, help="Simulated seconds in a real second.")]
Ledger = Annotated[Path | None, typer.Option(help="Write down what is shown, into this new file.")]
Keys = Annotated[Path | None, typer.Option(help="Write the keys and passwords of devices into this folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Say what is served as one line of JSON.")]

Link = Annotated[
    str | None, typer.Option(help="Path of a symbolic link to the pseudo-terminal, so that it is known.")
]
TcpPortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="A serial server's TCP port instead; 0 for a free one."),
]
Baud = Annotated[int, typer.Option(min=300, max=4_000_000, help="Bits per second: what bytes take.")]
LoadKw = Annotated[float, typer.Option(min=0.001, help="What each meter's load draws on a working day.")]

Units = Annotated[list[int] | None, typer.Option("--unit", min=1, max=247, help="Repeat for more meters.")]
Parameters = Annotated[
    list[Any] | None,
    typer.Option(
        "--parameter", parser=_parameter, metavar="NAME=NUMBER", help="Such as ct=20; repeat for more."
    ),
]


def no_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Raise BadParameter for the first."""
    for mistake in mistakes:
        place = ".".join(map(str, mistake.path))
        raise typer.BadParameter(f"{place}: {mistake.what}" + (f" ({mistake.hint})" if mistake.hint else ""))
