"""While the disk refuses, readings stay in memory; what is lost is told."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from edge_agent.buffer.blocks import ItemMalformed
from edge_agent.buffer.contract import BufferUnavailable, Outbox, SeqRange
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.sink import MOST_HELD, RETRY_S, BufferSink
from models.reading import Event, Item
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, a_reading, an_event, drain, readings, values


class RefusingDisk:
    """A buffer on a disk that refuses until it is told otherwise."""

    def __init__(self, buffer: SqliteBuffer) -> None:
        self._buffer = buffer
        self.refuses = False

    async def append(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> SeqRange:
        if self.refuses:
            await asyncio.sleep(0)  # a disk takes its time to refuse
            raise BufferUnavailable("disk full")
        return await self._buffer.append(items, marks)

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self._buffer.marks(prefix)


@pytest.fixture
def disk(buffer: SqliteBuffer) -> RefusingDisk:
    return RefusingDisk(buffer)


@pytest.fixture
def sink(disk: RefusingDisk, clock: VirtualClock) -> BufferSink:
    return BufferSink(disk, clock.clock)  # type: ignore[arg-type]  # a sink needs no more of it


async def test_what_the_disk_takes_is_not_held(sink: BufferSink, outbox: Outbox) -> None:
    await sink.put(readings(5))
    assert sink.held == 0
    assert (await outbox.counts()).produced == 5


async def test_readings_wait_in_memory_and_are_stored_in_their_order(
    sink: BufferSink,
    disk: RefusingDisk,
    outbox: Outbox,
    clock: VirtualClock,
    sealer: Sealer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = asyncio.create_task(sink.keep_trying())
    disk.refuses = True
    for number in range(20):
        await sink.put(readings(5, first=5 * number))
        await clock.advance(1)
    assert sink.held == 100
    disk.refuses = False
    await sink.put(readings(5, first=100))
    await clock.advance(2 * RETRY_S)
    await sink.flush()
    await sink.put(readings(5, first=105))
    assert sink.held == 0
    assert values(await drain(outbox, sealer)) == values(readings(110))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_memory_gives_up_the_oldest_readings_and_no_event_and_tells_it(
    sink: BufferSink, disk: RefusingDisk, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    disk.refuses = True
    for number in range(10):
        await sink.put([an_event(number)])
    for number in range(12):
        await sink.put(readings(1000, first=1000 * number))
        await sink.flush()
    assert sink.held == MOST_HELD
    assert sink.lost_total == 12_010 - MOST_HELD
    disk.refuses = False
    await sink.flush()
    sent = await drain(outbox, sealer)
    events = [item for item in sent if isinstance(item, Event)]
    assert [event.data["n"] for event in events if event.kind == "door.opened"] == list(range(10))
    [gap] = [event.data for event in events if event.kind == "buffer.gap"]
    assert (gap["reason"], gap["readings"], gap["events"]) == ("disk-refused", 2010, 0)
    assert values(sent) == [float(n) for n in range(2010, 12_000)]
    await sink.put([a_reading()])
    assert len(await drain(outbox, sealer)) == 1  # the gap is told once


async def test_events_are_given_up_when_there_is_nothing_else(sink: BufferSink, disk: RefusingDisk) -> None:
    disk.refuses = True
    await sink.put([an_event(number) for number in range(MOST_HELD + 5)])
    assert (sink.held, sink.lost_total) == (MOST_HELD, 5)


async def test_marks_are_held_with_their_items_and_stored_with_them(
    sink: BufferSink, disk: RefusingDisk, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    await sink.put([an_event(1)], {"door.serial": "1", "ble.counter": "7"})
    disk.refuses = True
    await sink.put([an_event(2)], {"door.serial": "2", "ble.counter": ""})
    await sink.put([], {"door.serial": "3"})
    assert await buffer.marks("") == {"door.serial": "1", "ble.counter": "7"}
    assert await sink.marks("") == {"door.serial": "3"}
    assert await sink.marks("ble.") == {}
    disk.refuses = False
    await sink.flush()
    assert await buffer.marks("") == await sink.marks("") == {"door.serial": "3"}
    assert len(await drain(outbox, sealer)) == 2


async def test_a_mark_alone_that_the_disk_refuses_is_not_overtaken(
    sink: BufferSink, disk: RefusingDisk, buffer: SqliteBuffer, outbox: Outbox
) -> None:
    disk.refuses = True
    await sink.put([], {"door.serial": "1"})
    disk.refuses = False
    await sink.put([an_event(2)], {"door.serial": "2"})
    assert (await outbox.counts()).produced == 0
    await sink.flush()
    assert await buffer.marks("") == {"door.serial": "2"}


async def test_what_comes_while_the_held_is_written_does_not_overtake_it(
    sink: BufferSink, disk: RefusingDisk, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    disk.refuses = True
    await sink.put([an_event(1)], {"door.serial": "1"})
    disk.refuses = False
    flushing = asyncio.create_task(sink.flush())
    await asyncio.sleep(0)
    await sink.put([an_event(2)], {"door.serial": "2"})
    await flushing
    assert await sink.marks("") == await buffer.marks("") == {"door.serial": "2"}
    sent = [item.data["n"] for item in await drain(outbox, sealer) if isinstance(item, Event)]
    assert sent == [1, 2]


async def test_what_cannot_be_stored_is_not_held_either(sink: BufferSink, disk: RefusingDisk) -> None:
    disk.refuses = True
    await sink.put([a_reading()], {"good": "1"})
    with pytest.raises(ItemMalformed):
        await sink.put([a_reading("230")])  # type: ignore[arg-type]
    with pytest.raises(ItemMalformed):
        await sink.put([a_reading()], {"bad": "\ud800"})
    assert sink.held == 1
    disk.refuses = False
    await sink.flush()
    assert await sink.marks("") == {"good": "1"}


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_flush_that_is_cancelled_loses_and_doubles_nothing(
    sink: BufferSink, disk: RefusingDisk, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer, refuses: bool
) -> None:
    disk.refuses = True
    await sink.put([an_event(1)], {"door.serial": "1"})
    disk.refuses = refuses
    flushing = asyncio.create_task(sink.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await sink.flush()
    assert sink.held == int(refuses)
    disk.refuses = False
    await sink.flush()
    assert [item.kind for item in await drain(outbox, sealer) if isinstance(item, Event)] == ["door.opened"]
    assert await buffer.marks("") == {"door.serial": "1"}
