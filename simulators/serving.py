"""Serves a scenario until Ctrl-C, for the command line."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import typer

from models.errors import GatehouseError
from simulators.announce import banner, served
from simulators.clocks import clock as make_clock
from simulators.kinds import write_secrets
from simulators.scenario import Scenario
from simulators.site import running


def serve(
    scenario: Scenario, *, speed: float, ledger: Path | None, keys: Path | None = None, as_json: bool
) -> None:
    """Say first what is served. `keys` is a folder for the keys that devices have."""
    with Failing(as_json):
        asyncio.run(_serve(scenario, speed, ledger, keys, as_json=as_json))


async def _serve(
    scenario: Scenario, speed: float, ledger: Path | None, keys: Path | None, *, as_json: bool
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(scenario, clock=make_clock(speed=speed), ledger=ledger) as site:
        if keys is not None:
            write_secrets(keys, site.secrets)
        if as_json:
            typer.echo(msgspec.json.encode(served(site, speed, ledger)))
        else:
            typer.echo(banner(site, speed, ledger, keys))
        sys.stdout.flush()
        await stop.wait()
    typer.echo("stopped", err=True)


class Failing:
    """Turns what a person can put right into a message and exit code 1."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: object) -> None:
        if not isinstance(err, GatehouseError | OSError):
            return
        if isinstance(err, BrokenPipeError):  # whoever reads has enough, as `head` has: typer ends it quietly
            return
        if self._as_json:
            typer.echo(msgspec.json.encode({"error": str(err)}))
        else:
            typer.echo(str(err), err=True)
        raise typer.Exit(1) from err
