"""On a disk that fails in every way, polls are taken on, nothing is doubled, and every loss is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edge_agent.buffer.contract import Outbox
from edge_agent.sink import MOST_HELD, BufferSink
from models.reading import Event
from simulators.lab.disk import NO_TROUBLE, Disk, Trouble
from simulators.lab.vfs import between
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, drain, readings, values

BACK_WITHIN_S = 5.0
SEEDS = range(4)
TROUBLES = [
    Trouble(full="everything"),
    Trouble(full="growing"),
    Trouble(read_only=True),
    Trouble(write_error=1),
    Trouble(write_error=0.2, sync_error=0.2, short=0.2),
    Trouble(sync_error=1),
    Trouble(sync_error=0.4),
    Trouble(short=1),
    Trouble(short=0.4),
    Trouble(read_error=0.5, write_error=0.1),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk()
    with between(tmp_path, made):
        yield made


@contextlib.asynccontextmanager
async def a_sink(folder: Path, clock: VirtualClock) -> AsyncIterator[tuple[BufferSink, Outbox]]:
    """Over a buffer in `folder`, and trying as in a running agent."""
    async with await open_buffer(folder / "buffer.db", clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        sink = BufferSink(buffer, clock.clock)
        trying = asyncio.create_task(sink.keep_trying())
        try:
            yield sink, outbox
        finally:
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)


async def until_taken(sink: BufferSink, outbox: Outbox, clock: VirtualClock) -> float:
    """How long it takes until nothing is held any more."""
    began_s = clock.monotonic_s()
    while sink.held:
        await clock.advance(0.25)
        await outbox.counts()  # comes after what is under way to the disk
    return clock.monotonic_s() - began_s


@pytest.mark.parametrize("trouble", TROUBLES, ids=repr)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_disk_that_fails_for_a_while_loses_and_doubles_nothing(
    tmp_path: Path, disk: Disk, clock: VirtualClock, sealer: Sealer, trouble: Trouble, seed: int
) -> None:
    disk.reseed(seed)
    async with a_sink(tmp_path, clock) as (sink, outbox):
        for sweep in range(60):
            if sweep == 20:
                disk.trouble = trouble
            if sweep == 40:
                disk.trouble = NO_TROUBLE
            await sink.put(readings(20, first=20 * sweep))
            await clock.advance(0.5)
        assert disk.refused > 0 or trouble.full == "growing", "the disk did nothing"
        assert await until_taken(sink, outbox, clock) <= BACK_WITHIN_S
        assert sink.lost_total == 0
        counts = await outbox.counts()
        assert counts.conserved
        assert values(await drain(outbox, sealer)) == values(readings(1200))


async def test_what_memory_cannot_hold_is_lost_as_the_gap_record_says_and_not_one_more(
    tmp_path: Path, disk: Disk, clock: VirtualClock, sealer: Sealer
) -> None:
    async with a_sink(tmp_path, clock) as (sink, outbox):
        await sink.put(readings(100))
        disk.trouble = Trouble(full="everything")
        produced = 100
        while produced < MOST_HELD + 3000:
            await sink.put(readings(500, first=produced))
            produced += 500
            await clock.advance(1)
        disk.trouble = NO_TROUBLE
        assert await until_taken(sink, outbox, clock) <= BACK_WITHIN_S
        items = await drain(outbox, sealer)
    [gap] = [item.data for item in items if isinstance(item, Event)]
    assert gap["reason"] == "disk-refused"
    assert gap["readings"] == produced - len(values(items)) > 0
    assert (
        values(items)
        == values(readings(produced))[:100] + values(readings(produced))[100 + gap["readings"] :]
    )
