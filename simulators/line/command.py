"""What the commands of all meters on lines have in common: their options, and serving until Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import typer

from models.document import Mistake
from models.errors import GatehouseError
from models.times import Clock
from simulators.clocks import clock as make_clock
from simulators.faults import Fault, FaultMistake, parse_fault
from simulators.ledger import LedgerWriter


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except FaultMistake as err:
        raise typer.BadParameter(str(err)) from err


Link = Annotated[
    str | None, typer.Option(help="Path of a symbolic link to the pseudo-terminal, so that it is known.")
]
TcpPortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="A serial server's TCP port instead; 0 for a free one."),
]
Baud = Annotated[int, typer.Option(min=300, max=4_000_000, help="Bits per second: what bytes take.")]
LoadKw = Annotated[float, typer.Option(min=0.001, help="What each meter's load draws on a working day.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same building and the same faults.")]
Faults = Annotated[
    list[Fault] | None,
    typer.Option(
        "--fault",
        parser=_fault,
        metavar="KIND=PROBABILITY[:ARGUMENT]",
        help="lost=0.01, late=0.01:3s, bad_checksum=0.01, exception=0.01:4, …; repeat for more.",
    ),
]
Speed = Annotated[float, typer.Option(min=0.001, help="Simulated seconds in a real second.")]
Ledger = Annotated[Path | None, typer.Option(help="Write down what the meters show, into this new file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Say what is served as one line of JSON.")]


class Served(Protocol):
    """Meters on a line that is open."""

    def bus(self, bus_id: str) -> dict[str, Any]: ...

    def devices(self, bus_id: str) -> list[dict[str, Any]]: ...


Run = Callable[[Clock, int, LedgerWriter | None], AbstractAsyncContextManager[Served]]
"""Opens the line: with the clock, when it began, and the ledger."""


def no_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Raise BadParameter for the first."""
    for mistake in mistakes:
        place = ".".join(map(str, mistake.path))
        raise typer.BadParameter(f"{place}: {mistake.what}" + (f" ({mistake.hint})" if mistake.hint else ""))


def serve(run: Run, *, name: str, seed: int, speed: float, ledger: Path | None, as_json: bool) -> None:
    """Serve until Ctrl-C. What a person can put right becomes a message and exit code 1."""
    try:
        clock = make_clock(speed=speed)
        asyncio.run(_serve(run, name=name, seed=seed, clock=clock, ledger=ledger, as_json=as_json))
    except (GatehouseError, OSError) as err:
        typer.echo(msgspec.json.encode({"error": str(err)}) if as_json else str(err), err=not as_json)
        raise typer.Exit(1) from err


async def _serve(run: Run, *, name: str, seed: int, clock: Clock, ledger: Path | None, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    origin_ms = clock.now_ms()
    writer = None
    if ledger is not None:
        writer = LedgerWriter(ledger, scenario=name, seed=seed, start_ms=origin_ms)
    try:
        async with run(clock, origin_ms, writer) as line:
            typer.echo(_told(line, name, as_json=as_json))
            sys.stdout.flush()
            await stop.wait()
            if writer is not None:
                writer.end(clock.now_ms())
    finally:
        if writer is not None:
            writer.close()


def _told(line: Served, name: str, *, as_json: bool) -> str:
    """With the part of a gateway's configuration that reads it."""
    configuration = {"buses": [line.bus(name)], "devices": line.devices(name)}
    if as_json:
        return msgspec.json.encode(configuration).decode()
    lines = ["An edge agent reads these meters with this in its gateway.yaml:", ""]
    for key, entries in configuration.items():
        lines.append(f"{key}:")
        lines += [f"  - {msgspec.json.encode(entry).decode()}" for entry in entries]  # JSON is YAML
    return "\n".join([*lines, "", "Ctrl-C ends it."])
