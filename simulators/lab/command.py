"""`simulators faults`: plans a bad time from a seed, and lets it happen to what runs on this machine."""

import asyncio
import shlex
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from simulators.clocks import clock as make_clock
from simulators.durations import duration_ms
from simulators.lab.child import Child
from simulators.lab.clock import RIGHT, set_wrong
from simulators.lab.disk import NO_TROUBLE, set_trouble
from simulators.lab.network import network
from simulators.lab.plan import KINDS, MIXES, Trace
from simulators.lab.plan import plan as make_plan
from simulators.lab.player import Moment, Target, play
from simulators.lab.targets import ClockTarget, DiskTarget, NetworkTarget, ProcessTarget
from simulators.lab.trace import lines_of, read_trace
from simulators.serving import Failing

faults = typer.Typer(no_args_is_help=True, help="Plan a bad time from a seed, and let it happen.")

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for each fault.")]

_HIGHEST_PORT = 65535


@faults.command()
def kinds(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List what can go wrong, and how often it does in each mix."""
    mixes = {kind: {name: mix[kind].a_day for name, mix in MIXES.items() if kind in mix} for kind in KINDS}
    if as_json:
        found = [{"kind": kind, "what": KINDS[kind], "a_day": mixes[kind]} for kind in KINDS]
        typer.echo(msgspec.json.encode(found))
        return
    width = max(map(len, KINDS))
    for kind, what in KINDS.items():
        typer.echo(f"{kind:{width}}  {what}")


@faults.command()
def plan(
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same faults at the same times.")],
    duration: Annotated[str, typer.Option(help="Such as 7d or 30m.")] = "7d",
    mix: Annotated[str, typer.Option(help="What kind of bad time: " + ", ".join(MIXES))] = "bad-week",
    only: Annotated[
        list[str] | None,
        typer.Option(help="network, disk.full, …; repeat for more. Default: all of the mix."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = False,
) -> None:
    """Print a timetable of faults, for `simulators faults replay`."""
    with Failing(as_json):
        for line in lines_of(make_plan(seed, duration_ms(duration), mix, only or ())):
            typer.echo(line)


@faults.command()
def replay(
    trace: Annotated[Path, typer.Argument(help="What `simulators faults plan` printed.")],
    net: Annotated[
        str | None,
        typer.Option("--network", metavar="PORT=HOST:PORT", help="Listen here, and be the network to there."),
    ] = None,
    collector: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Start this, kill it and start it again.")
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="COMMAND", help="The same.")] = None,
    broker: Annotated[str | None, typer.Option(metavar="COMMAND", help="The same.")] = None,
    disk: Annotated[
        Path | None, typer.Option(help="The control file that `python -m simulators.lab.run` watches.")
    ] = None,
    clock: Annotated[Path | None, typer.Option(help="The same, of the clock.")] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="Seconds of the timetable in a real one.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Let the faults of a timetable happen to the parts that are named. Ends with the timetable, or Ctrl-C.

    Faults of parts that are not named do not happen.
    """
    with Failing(as_json):
        planned = read_trace(trace)
        commands = {"collector": collector, "agent": agent, "broker": broker}
        given = {name: _words(name, command) for name, command in commands.items() if command}
        if not (given or net or disk or clock):
            raise typer.BadParameter("name what it is to happen to: --network, --agent, --disk, …")
        asyncio.run(_replay(planned, net, given, disk, clock, speed, as_json=as_json))


async def _replay(
    trace: Trace,
    net: str | None,
    commands: dict[str, list[str]],
    disk: Path | None,
    clock: Path | None,
    speed: float,
    *,
    as_json: bool,
) -> None:
    times = make_clock(speed=speed, start_ms=0)

    def told(moment: Moment) -> None:
        if as_json:
            fault = msgspec.to_builtins(moment.fault)
            line = msgspec.json.encode({"at_ms": moment.at_ms, "what": moment.what, "fault": fault})
            typer.echo(line)
        else:
            how = " ".join(f"{name}={value:g}" for name, value in moment.fault.how.items())
            typer.echo(f"{moment.at_ms / 1000:10.1f} s  {moment.what:5}  {moment.fault.kind}  {how}".rstrip())

    async with AsyncExitStack() as opened:
        targets: dict[str, Target] = {}
        if net is not None:
            port, host, far_port = _addresses(net)
            made = await opened.enter_async_context(network(host, far_port, port=port, seed=trace.seed))
            targets["network"] = NetworkTarget(made)
        for name, command in commands.items():
            child = Child(command)
            await child.start()
            opened.push_async_callback(child.stop)
            returns = opened.enter_context(_Later())
            targets[name] = ProcessTarget(child, times.sleep, returns.run)
        if disk is not None:
            control = disk
            targets["disk"] = DiskTarget(lambda trouble: set_trouble(control, trouble))
            opened.callback(set_trouble, control, NO_TROUBLE)
        if clock is not None:
            file = clock
            targets["clock"] = ClockTarget(lambda wrong: set_wrong(file, wrong), lambda: time.time() * 1000)
            opened.callback(set_wrong, file, RIGHT)
        playing = asyncio.ensure_future(play(trace, targets, times, told))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
        await asyncio.wait([playing])
        if not playing.cancelled():
            playing.result()


class _Later:
    """Tasks beside the timetable; those that are not done when it ends are cancelled."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> "_Later":
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))


def _words(name: str, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as err:
        raise typer.BadParameter(f"{str(err).lower()} in {command!r}", param_hint=f"--{name}") from None


def _addresses(text: str) -> tuple[int, str, int]:
    port, _, far = text.partition("=")
    host, _, far_port = far.rpartition(":")
    if not (host and _is_port(port) and _is_port(far_port)):
        raise typer.BadParameter(f"'{text}' is not PORT=HOST:PORT, such as 9443=127.0.0.1:8443")
    return int(port), host, int(far_port)


def _is_port(text: str) -> bool:
    return text.isdecimal() and int(text) <= _HIGHEST_PORT
