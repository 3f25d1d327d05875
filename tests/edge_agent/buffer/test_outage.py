"""A week without a collector: the files stay inside their bounds, and what is given up is told of."""

import random
import resource
from collections import Counter
from pathlib import Path

import pytest

from edge_agent.buffer.sqlite import MIN_MB
from models.reading import Event, Item, Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock
from tests.support.items import Sealer, drain

MB = 1 << 20
POINTS = 200
PERIOD_S = 10
DAY_S = 86_400


def sweep(number: int, rng: random.Random) -> list[Item]:
    """All points once, as floats that do not compress."""
    at_ms = START_MS + number * PERIOD_S * 1000
    return [
        Reading(
            device_id=f"meter-{point % 50:02}",
            point=f"p{point // 50}",
            value=rng.random() * 1000,
            measured_ms=at_ms + point % 50,
            received_ms=at_ms + point % 50 + 3,
        )
        for point in range(POINTS)
    ]


def a_door(number: int) -> Event:
    at_ms = START_MS + number * PERIOD_S * 1000
    return Event(
        device_id="door", kind="door.opened", data={"n": number}, measured_ms=at_ms, received_ms=at_ms
    )


def on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize(
    ("days", "max_mb"),
    [pytest.param(0.4, MIN_MB, id="some hours"), pytest.param(7, 64, id="a week", marks=pytest.mark.soak)],
)
async def test_an_outage_stays_inside_the_bounds_and_costs_events_last(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer, days: float, max_mb: int
) -> None:
    rng = random.Random(7)
    sweeps = round(days * DAY_S / PERIOD_S)
    doors = memory_kb = 0
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0, max_mb=max_mb) as buffer:
        outbox = await buffer.outbox("main")
        for number in range(sweeps):
            await buffer.append(sweep(number, rng))
            if number % 60 == 59:
                doors += 1
                await buffer.append([a_door(number)])
            if number % 100 == 0:
                assert on_disk(tmp_path) <= 1.05 * max_mb * MB
            if number == sweeps // 4:
                memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb
        assert grown_kb < 30_000, "memory grows with what waits"
        counts = await outbox.counts()
        assert counts.conserved
        assert counts.dropped > 0
        items = await drain(outbox, sealer)
    events = [item for item in items if isinstance(item, Event)]
    assert [event.data["n"] for event in events if event.kind == "door.opened"] == [
        60 * n + 59 for n in range(doors)
    ]
    gaps = [event.data for event in events if event.kind == "buffer.gap"]
    assert sum(gap["readings"] for gap in gaps) == counts.dropped
    by_reason = Counter(gap["reason"] for gap in gaps)
    assert by_reason["thinned"] > 0
    kept = [item for item in items if isinstance(item, Reading)]
    assert len(kept) == sweeps * POINTS - counts.dropped
    newest = [
        item for item in kept if item.measured_ms >= START_MS + (sweeps - sweeps // 10) * PERIOD_S * 1000
    ]
    assert len(newest) == sweeps // 10 * POINTS, "the newest are whole"
