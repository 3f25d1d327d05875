"""After an outage what is live goes first, and what has waited follows as fast as it may."""

from collections.abc import Awaitable, Callable

import pytest

from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.uplink.lanes import Lanes
from models.reading import Reading
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, readings

LIVE_EVERY_S = 10.0
A_BATCH = 100
UPLOAD_S = 0.5  # that an upload takes; in it two new readings come

Make = Callable[..., Lanes]


@pytest.fixture
def make(buffer: SqliteBuffer, outbox: SqliteOutbox, clock: VirtualClock) -> Make:
    def make(*, backlog_per_s: float | None = None) -> Lanes:
        return Lanes(
            buffer,
            outbox,
            clock.clock,
            live_every_s=LIVE_EVERY_S,
            max_items=A_BATCH,
            backlog_per_s=backlog_per_s,
        )

    return make


class Link:
    """Uploads what the lanes choose. A reading's value is the time of its coming."""

    def __init__(
        self, buffer: SqliteBuffer, outbox: SqliteOutbox, sealer: Sealer, clock: VirtualClock
    ) -> None:
        self.buffer, self.outbox, self.sealer, self.clock = buffer, outbox, sealer, clock
        self.arrived: list[tuple[float, float]] = []  # when, and the value

    async def wait(self, seconds: float) -> None:
        """While two readings a second come."""
        for _ in range(round(seconds / UPLOAD_S)):
            await self.clock.advance(UPLOAD_S)
            await self.buffer.append(readings(1, first=round(self.clock.monotonic_s() * 10)))

    async def send_all(self, lanes: Lanes, *, pause: Callable[[float], Awaitable[None]]) -> None:
        """Until no backlog is left."""
        lanes.begin()
        while True:
            cut = await lanes.next_cut()
            if cut is None and not lanes.has_backlog:
                return
            if cut is None:
                await pause(max(UPLOAD_S, lanes.pause_s))
                continue
            await self.wait(UPLOAD_S)
            batch = self.sealer.seal(cut)
            await self.outbox.store(batch)
            await self.outbox.deliver(batch.number, quarantined=0, receipt="{}")
            now_s = self.clock.monotonic_s()
            self.arrived += [(now_s, item.value or 0.0) for item in cut.items if isinstance(item, Reading)]


@pytest.fixture
async def link(buffer: SqliteBuffer, outbox: SqliteOutbox, sealer: Sealer, clock: VirtualClock) -> Link:
    """After an outage, in which 10 000 readings came."""
    await outbox.add_key(sealer.content_key.key_id, sealer.package)
    for first in range(0, 10_000, 500):
        await buffer.append(readings(500, first=first - 10_000))
    return Link(buffer, outbox, sealer, clock)


async def test_what_is_live_is_fresh_while_a_backlog_drains(link: Link, make: Make) -> None:
    await link.send_all(make(), pause=link.wait)
    live = [(at_s, value / 10) for at_s, value in link.arrived if value >= 0]
    assert max(at_s - came_s for at_s, came_s in live) <= LIVE_EVERY_S + 2 * UPLOAD_S
    assert len(live) > 80
    backlog = [value for _, value in link.arrived if value < 0]
    assert backlog == list(map(float, range(-10_000, 0)))
    counts = await link.outbox.counts()
    assert counts.conserved
    assert counts.unsealed <= 25


async def test_a_backlog_goes_no_faster_than_it_may(link: Link, make: Make) -> None:
    await link.send_all(make(backlog_per_s=50), pause=link.wait)
    ended_s = max(at_s for at_s, value in link.arrived if value < 0)
    assert 195 <= ended_s <= 230
    live = [(at_s, value / 10) for at_s, value in link.arrived if value >= 0]
    assert max(at_s - came_s for at_s, came_s in live) <= LIVE_EVERY_S + 3 * UPLOAD_S


async def test_a_few_readings_are_no_backlog(
    buffer: SqliteBuffer, make: Make, outbox: SqliteOutbox, sealer: Sealer
) -> None:
    await buffer.append(readings(2 * A_BATCH))
    lanes = make()
    lanes.begin()
    assert not lanes.has_backlog
    await buffer.append(readings(10, first=500))
    firsts = []
    while await lanes.next_cut() is not None:
        firsts.append((await sealer.store_next(outbox, A_BATCH)).first_seq)
    assert firsts == [1, 101]  # what came meanwhile waits for others


async def test_what_somebody_waits_for_goes_before_a_backlog(link: Link, make: Make) -> None:
    lanes = make()
    lanes.begin()
    assert (cut := await lanes.next_cut()) is not None
    assert cut.first_seq == 1
    await link.buffer.append(readings(1))
    lanes.hurry()
    assert (cut := await lanes.next_cut()) is not None
    assert (cut.first_seq, len(cut.items)) == (10_001, 1)
