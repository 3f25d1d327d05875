"""Lets the faults of a timetable happen, each at its time, to whatever stands for its target."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from models.times import Clock
from simulators.lab.plan import Fault, Trace


class Target(Protocol):
    """Something that faults can happen to. Of several at once of one kind it is told of each."""

    async def begin(self, fault: Fault) -> None:
        """Let it happen. Return soon: the next fault waits."""

    async def end(self, fault: Fault) -> None:
        """It is over. Never called for faults that are over at once."""


class Moment(NamedTuple):
    """A fault begins or ends."""

    at_ms: int
    what: Literal["begin", "end"]
    fault: Fault


def moments(trace: Trace) -> list[Moment]:
    """All beginnings and ends in order; what ends at a time ends before anything else begins."""
    found = [Moment(fault.at_ms, "begin", fault) for fault in trace.faults]
    found += [Moment(f.at_ms + f.lasts_ms, "end", f) for f in trace.faults if f.lasts_ms]
    return sorted(found, key=lambda moment: (moment.at_ms, moment.what == "begin", moment.fault.kind))


async def play(
    trace: Trace,
    targets: Mapping[str, Target],
    clock: Clock,
    told: Callable[[Moment], None] = lambda moment: None,
) -> None:
    """Return after the duration, when all that had begun has ended, at its time or with the duration.

    What has no target does not happen.
    """
    begun: list[Fault] = []
    began_s = clock.monotonic_s()

    async def until(at_ms: int) -> None:
        await clock.sleep(max(0.0, began_s + at_ms / 1000 - clock.monotonic_s()))

    try:
        for moment in moments(trace):
            target = targets.get(moment.fault.target)
            if target is None or moment.at_ms > trace.duration_ms:
                continue
            await until(moment.at_ms)
            told(moment)
            if moment.what == "begin":
                if moment.fault.lasts_ms:
                    begun.append(moment.fault)
                await target.begin(moment.fault)
            else:
                begun.remove(moment.fault)
                await target.end(moment.fault)
        await until(trace.duration_ms)
    finally:
        for fault in begun:
            told(Moment(trace.duration_ms, "end", fault))
            await targets[fault.target].end(fault)
