"""A buffer that is full gives up what matters least, and says so."""

import base64
import random
from pathlib import Path

from edge_agent.buffer.sqlite import MIN_MB
from models.reading import Event, Item
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, a_reading, an_event, drain

MB = 1 << 20
FILL = 700  # appends of 20 kB: half as much again as fits


def bulky(rng: random.Random, number: int, *, extra: Item | None = None) -> list[Item]:
    """20 kB that nothing can compress, as one reading; then `extra`."""
    name = base64.b64encode(rng.randbytes(15_000)).decode()
    return [a_reading(float(number), device=name), *([extra] if extra else [])]


def on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def test_delivered_batches_go_before_anything_that_is_pending(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    rng = random.Random(1)
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        for number in range(FILL):
            await buffer.append(bulky(rng, number))
            if number % 50 == 49 and number < 400:
                await drain(outbox, sealer)
        counts = await outbox.counts()
        assert counts.dropped == 0
        assert (counts.delivered, counts.pending) == (400, 300)
        assert counts.batches_kept < 8
        assert counts.conserved
        assert on_disk(tmp_path) <= MIN_MB * MB


async def test_oldest_readings_go_before_any_event_and_the_gap_is_told(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    rng = random.Random(2)
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        for number in range(FILL):
            await buffer.append(bulky(rng, number, extra=an_event(number)))
            assert on_disk(tmp_path) <= MIN_MB * MB
        counts = await outbox.counts()
        assert counts.conserved
        assert counts.dropped > 50
        sent = await drain(outbox, sealer)
    doors = [item.data["n"] for item in sent if isinstance(item, Event) and item.kind == "door.opened"]
    gaps = [item.data for item in sent if isinstance(item, Event) and item.kind == "buffer.gap"]
    kept = [item.value for item in sent if not isinstance(item, Event)]
    assert doors == list(range(FILL))
    assert kept == [float(n) for n in range(FILL - len(kept), FILL)]
    assert {gap["reason"] for gap in gaps} == {"buffer-full"}
    assert sum(gap["readings"] for gap in gaps) == FILL - len(kept) == counts.dropped
    assert all(gap["events"] == 0 for gap in gaps)


async def test_events_go_too_when_there_is_nothing_else(tmp_path: Path, clock: VirtualClock) -> None:
    rng = random.Random(3)
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        for _ in range(FILL):
            await buffer.append([an_event(kind=base64.b64encode(rng.randbytes(15_000)).decode())])
        counts = await outbox.counts()
        assert counts.dropped > 0
        assert counts.conserved
        assert on_disk(tmp_path) <= MIN_MB * MB


async def test_numbers_go_on_when_the_newest_items_were_dropped(tmp_path: Path, clock: VirtualClock) -> None:
    rng = random.Random(4)
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        for number in range(FILL):
            last = (await buffer.append(bulky(rng, number))).last
        produced = (await outbox.counts()).produced
        assert produced >= last
    async with await open_buffer(path, clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        assert (await buffer.append([a_reading()])).first == produced + 1


async def test_batches_that_wait_on_a_stick_are_taken_apart_before_a_reading_is_given_up(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    rng = random.Random(5)
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0, max_mb=MIN_MB) as buffer:
        outbox = await buffer.outbox("main")
        await outbox.belong_to(sealer.gateway_id)
        await outbox.add_key(sealer.content_key.key_id, sealer.package)
        for number in range(360):  # 8 MB, and 5 more of what is exported of them
            await buffer.append(bulky(rng, number))
            if number % 10 == 9:
                cut = await outbox.cut(10)
                assert cut is not None
                await outbox.store(sealer.seal(cut))
        counts = await outbox.counts()
        assert (counts.dropped, counts.pending) == (0, 360)
        assert counts.batches_pending < 32
        assert counts.conserved
        assert on_disk(tmp_path) <= MIN_MB * MB
        under_way, number = 0, 0
        while (batch := await outbox.pending(after=number)) is not None:
            under_way, number = under_way + batch.items, batch.number
        free = await outbox.cut(1)
        assert free is not None
        assert under_way + counts.unsealed == 360
