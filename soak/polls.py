"""Whether a collector that is dead, slow or refusing delays the polls of meters, in one run with and without.

    python -m soak.polls --seconds 300

A meter is polled on a grid of one second. How late each request came is measured at the meters, by their own
ledger: against the beat at which that meter is usually asked. Good and bad times of the collector take turns,
so that what else the machine does falls on both.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from simulators.lab.plan import Fault
from simulators.lab.targets import NetworkTarget
from soak.memory import now_ms
from soak.stage import Stage, stage

PERIOD_MS = 1000
MOST_GROWTH = 0.05
SETTLES_S = 2.0  # after a change; the polls in it count for neither side
TURN_S = 6.0  # short, so that what else the machine does falls on both sides alike
RESOLUTION_MS = 1.0  # of a ledger
BAD = (
    Fault(0, "network.cut", 1),
    Fault(0, "network.silent", 1),
    Fault(0, "network.mute", 1),
    Fault(0, "network.drip", 1, {"pause_ms": 5}),
    Fault(0, "requests.busy", 1, {"pause_s": 1}),
    Fault(0, "requests.failing", 1),
)

Span = tuple[int, int, str]
"""From, to, and what was wrong with the collector: "" for nothing."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of the polls of one condition, in milliseconds."""

    polls: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, late_ms: Sequence[float]) -> "Lateness":
        cuts = statistics.quantiles(late_ms, n=100)
        return cls(len(late_ms), cuts[49], cuts[98])


def lateness(ledger: Iterable[bytes], spans: Sequence[Span]) -> dict[str, Lateness]:
    """By what was wrong; "" for nothing, "any" for all that was. `ledger` is as the simulators write it."""
    asked: dict[int, list[int]] = defaultdict(list)  # by shape, which is one request of one meter
    for line in ledger:
        entry = msgspec.json.decode(line)
        if isinstance(entry, list):
            asked[entry[2]].append(entry[0])
    found: dict[str, list[float]] = defaultdict(list)
    for times in asked.values():
        beat = statistics.median(_into_period(times))
        for at_ms in times:
            late = (at_ms - beat + PERIOD_MS / 2) % PERIOD_MS - PERIOD_MS / 2
            for first, last, wrong in spans:
                if first <= at_ms < last:
                    found[wrong].append(abs(late))
                    if wrong:
                        found["any"].append(abs(late))
    return {wrong: Lateness.of(late) for wrong, late in found.items() if len(late) > 1}


def _into_period(times: Sequence[int]) -> list[float]:
    """Where in the period each time is, on a line that does not break where most of them are."""
    first = times[0] % PERIOD_MS
    return [(at_ms - first + PERIOD_MS / 2) % PERIOD_MS - PERIOD_MS / 2 + first for at_ms in times]


async def _measure(seconds: float) -> dict[str, Lateness]:
    with tempfile.TemporaryDirectory() as folder:
        async with stage(Path(folder) / "stage", 1, every_s=PERIOD_MS / 1000) as parts:
            await asyncio.sleep(2 * SETTLES_S)
            spans: list[Span] = []
            for _ in range(max(1, round(seconds / (2 * len(BAD) * (TURN_S + SETTLES_S))))):
                spans += await _take_turns(parts)
            ledger = parts.house.ledger
            await parts.house.simulated.stop()
            return lateness(ledger.read_bytes().splitlines(), spans)


async def _take_turns(parts: Stage) -> list[Span]:
    network = NetworkTarget(parts.network)
    spans: list[Span] = []
    for fault in BAD:
        spans.append(await _span(""))
        target = network if fault.target == "network" else parts.front
        await target.begin(fault)
        spans.append(await _span(fault.kind))
        await target.end(fault)
    return spans


async def _span(wrong: str) -> Span:
    await asyncio.sleep(SETTLES_S)
    began_ms = now_ms()
    await asyncio.sleep(TURN_S)
    return began_ms, now_ms(), wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.polls", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for all turns together")
    asked = parser.parse_args()
    found = asyncio.run(_measure(asked.seconds))
    good, bad = found[""], found["any"]
    growth = bad.p99_ms / good.p99_ms - 1 if good.p99_ms else 0.0
    is_good = bad.p99_ms <= good.p99_ms * (1 + MOST_GROWTH) + RESOLUTION_MS
    for wrong, late in sorted(found.items()):
        sys.stderr.write(
            f"{wrong or 'nothing wrong':16} {late.polls:6} polls  late p50 {late.p50_ms:6.1f} ms  "
            f"p99 {late.p99_ms:6.1f} ms\n"
        )
    told = {wrong or "good": msgspec.to_builtins(late) for wrong, late in found.items()}
    sys.stdout.write(json.dumps({"lateness": told, "growth": round(growth, 4), "good": is_good}) + "\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
