"""What the faults of a timetable happen to: a network, a disk, a clock, a process."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

from simulators.lab.clock import RIGHT, Wrong
from simulators.lab.disk import Trouble
from simulators.lab.network import Conditions, Network
from simulators.lab.plan import Fault


class NetworkTarget:
    """The faults `network.…`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._now: dict[str, Fault] = {}

    async def begin(self, fault: Fault) -> None:
        self._now[fault.what] = fault
        await self._change()

    async def end(self, fault: Fault) -> None:
        del self._now[fault.what]
        await self._change()

    async def _change(self) -> None:
        now, network = self._now, self._network
        network.line = _conditions({name: fault.how for name, fault in now.items()})
        if "silent" in now:
            network.stall()
        else:
            network.flow()
        if "cut" in now:
            await network.cut()
        elif "refused" in now:
            network.refuse()
        else:
            await network.accept()


def _conditions(now: Mapping[str, Mapping[str, float]]) -> Conditions:
    line = Conditions(deaf="deaf" in now, mute="mute" in now)
    if how := now.get("delay"):
        line = replace(line, delay_s=how["delay_ms"] / 1000, jitter_s=how["jitter_ms"] / 1000)
    if how := now.get("slow"):
        line = replace(line, bytes_per_s=how["bytes_a_second"])
    if how := now.get("drip"):
        line = replace(line, drip_s=how["pause_ms"] / 1000)
    if how := now.get("loss"):
        line = replace(line, loss=how["share"])
    if how := now.get("reset"):
        line = replace(line, reset=how["share"])
    return line


class DiskTarget:
    """The faults `disk.…`. `change` is told what is wrong with the disk, whenever that changes."""

    def __init__(self, change: Callable[[Trouble], None]) -> None:
        self._change = change
        self._now: dict[str, Mapping[str, float]] = {}

    async def begin(self, fault: Fault) -> None:
        self._now[fault.what] = fault.how
        self._change(self._trouble())

    async def end(self, fault: Fault) -> None:
        del self._now[fault.what]
        self._change(self._trouble())

    def _trouble(self) -> Trouble:
        now = self._now
        slow = now.get("slow")
        return Trouble(
            sync_ms=(slow["from_ms"], slow["to_ms"]) if slow else (0, 0),
            full="everything" if "full" in now else "",
            read_only="read_only" in now,
            write_error=now.get("write_error", {}).get("share", 0.0),
            sync_error=now.get("sync_error", {}).get("share", 0.0),
            read_error=now.get("read_error", {}).get("share", 0.0),
            short=now.get("short", {}).get("share", 0.0),
        )


class ClockTarget:
    """The faults `clock.…`. `change` is told how wrong the clock is, whenever that changes."""

    def __init__(self, change: Callable[[Wrong], None], true_ms: Callable[[], float]) -> None:
        self._change, self._true_ms = change, true_ms
        self._wrong = RIGHT
        self._before_reset_ms: float | None = None

    async def begin(self, fault: Fault) -> None:
        if fault.what == "drift":
            self._set(self._wrong.drifting(fault.how["ppm"], self._true_ms()))
        elif fault.what == "reset":
            self._before_reset_ms = self._wrong.by_ms
            self._set(self._wrong.stepped(-self._wrong.shown_ms(self._true_ms())))
        else:
            self._set(self._wrong.stepped(fault.how["by_s"] * 1000))

    async def end(self, fault: Fault) -> None:
        if fault.what == "drift":
            self._set(self._wrong.drifting(0, self._true_ms()))
        elif self._before_reset_ms is not None:  # somebody sets the date again
            self._set(self._wrong.stepped(self._before_reset_ms - self._wrong.by_ms))

    def _set(self, wrong: Wrong) -> None:
        self._wrong = wrong
        self._change(wrong)


class Process(Protocol):
    """What can be killed, held up and started again."""

    async def kill(self) -> None:
        """SIGKILL."""

    async def start(self) -> object:
        """Start it again."""

    def hold(self) -> None:
        """SIGSTOP."""

    def go_on(self) -> None:
        """SIGCONT."""


class ProcessTarget:
    """The faults of a process. `later` runs what it is given beside the timetable."""

    def __init__(
        self,
        process: Process,
        away: Callable[[float], Awaitable[None]],
        later: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`away` waits so many seconds."""
        self._process, self._away, self._later = process, away, later
        self.is_away = False
        self.kills = 0

    async def begin(self, fault: Fault) -> None:
        if self.is_away:
            return
        if fault.what == "kill":
            self.is_away = True
            self.kills += 1
            await self._process.kill()
            self._later(self._return(fault.how["away_s"]))
        else:
            self._process.hold()

    async def end(self, fault: Fault) -> None:
        if not self.is_away:
            self._process.go_on()

    async def _return(self, after_s: float) -> None:
        await self._away(after_s)
        await self._process.start()
        self.is_away = False
