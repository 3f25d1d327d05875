"""What every buffer must do, as `edge_agent.buffer.contract` says it."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.buffer.blocks import BLOCK_ITEMS, ItemMalformed
from edge_agent.buffer.contract import Buffer, BufferUnavailable, Outbox, OutOfOrder, SeqRange
from models.envelope import FIRST_PREVIOUS
from models.reading import Event, Item, Quality, Reading, Reason
from models.times import DAY_MS
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock, settle
from tests.support.items import Sealer, a_reading, an_event, drain, readings, values


async def test_sequence_numbers_start_at_one_and_have_no_holes(buffer: Buffer) -> None:
    ranges = [await buffer.append(readings(size)) for size in (1, 3, 2)]
    assert ranges == [SeqRange(1, 1), SeqRange(2, 4), SeqRange(5, 6)]


async def test_concurrent_appends_get_numbers_of_their_own_in_one_order(
    buffer: Buffer, outbox: Outbox
) -> None:
    ranges = await asyncio.gather(*(buffer.append(readings(7, first=7 * i)) for i in range(50)))
    numbers = sorted(seq for first, last in ranges for seq in range(first, last + 1))
    assert numbers == list(range(1, 351))
    cut = await outbox.cut(1000)
    assert cut is not None
    by_append = [values(cut.items[first - 1 : last]) for first, last in ranges]
    assert by_append == [values(readings(7, first=7 * i)) for i in range(50)]


async def test_what_is_appended_comes_back_equal(buffer: Buffer, outbox: Outbox) -> None:
    items: list[Item] = [
        a_reading(0.1 + 0.2),
        a_reading(-0.0),
        a_reading(1e300),
        Reading(
            device_id="d",
            point="p",
            value=None,
            quality=Quality.BAD,
            reason=Reason.NO_REPLY,
            measured_ms=1,
            received_ms=2,
        ),
        Event(
            device_id="门-01", kind="door.opened", data={"谁": ["a", 1, None]}, measured_ms=-5, received_ms=2
        ),
    ]
    await buffer.append(items)
    cut = await outbox.cut(10)
    assert cut is not None
    assert repr(cut.items) == repr(items)


async def test_an_append_larger_than_any_block_is_stored_whole(buffer: Buffer, outbox: Outbox) -> None:
    size = 2 * BLOCK_ITEMS + 17
    assert await buffer.append(readings(size)) == SeqRange(1, size)
    cut = await outbox.cut(size)
    assert cut is not None
    assert values(cut.items[:BLOCK_ITEMS]) == values(readings(BLOCK_ITEMS))


async def test_an_item_that_could_not_be_read_back_is_refused_at_once(buffer: Buffer) -> None:
    wrong = a_reading("230")  # type: ignore[arg-type]
    with pytest.raises(ItemMalformed, match="a driver made an item"):
        await buffer.append([a_reading(), wrong])
    assert await buffer.append([a_reading()]) == SeqRange(1, 1)


async def test_a_cut_changes_nothing(buffer: Buffer, outbox: Outbox) -> None:
    await buffer.append(readings(5))
    first = await outbox.cut(10)
    assert first is not None
    assert first == await outbox.cut(10)
    assert (first.number, first.first_seq, first.previous) == (1, 1, FIRST_PREVIOUS)


async def test_a_cut_takes_no_more_than_its_limit(buffer: Buffer, outbox: Outbox, sealer: Sealer) -> None:
    await buffer.append(readings(100))
    sizes = []
    while (await outbox.cut(30)) is not None:
        batch = await sealer.store_next(outbox, 30)
        sizes.append(batch.count)
        assert (await outbox.counts()).unsealed == 100 - sum(sizes)
    assert sizes == [30, 30, 30, 10]


async def test_batches_are_numbered_and_chained(buffer: Buffer, outbox: Outbox, sealer: Sealer) -> None:
    await buffer.append(readings(10))
    first = await sealer.store_next(outbox, 4)
    cut = await outbox.cut(4)
    assert cut is not None
    assert (cut.number, cut.first_seq, cut.previous) == (2, 5, first.digest)


async def test_a_pending_batch_is_handed_out_byte_for_byte_until_it_is_delivered(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    assert await outbox.pending() is None
    batch = await sealer.store_next(outbox)
    assert await outbox.pending() == await outbox.pending() == batch
    await outbox.deliver(batch.number, quarantined=0, receipt="{}")
    assert await outbox.pending() is None


async def test_a_batch_that_does_not_follow_is_not_stored(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    batch = await sealer.store_next(outbox, 5)
    with pytest.raises(OutOfOrder, match="does not follow"):
        await outbox.store(batch)
    assert (await outbox.counts()).batches_pending == 1


async def test_a_receipt_that_comes_twice_counts_once(buffer: Buffer, outbox: Outbox, sealer: Sealer) -> None:
    await buffer.append(readings(10))
    batch = await sealer.store_next(outbox)
    for _ in range(2):
        await outbox.deliver(batch.number, quarantined=3, receipt="{}")
    counts = await outbox.counts()
    assert (counts.delivered, counts.quarantined, counts.pending) == (7, 3, 0)
    assert counts.conserved


async def test_a_withdrawn_batch_gives_its_items_and_its_number_back(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    done = await sealer.store_next(outbox, 4)
    await outbox.deliver(done.number, quarantined=0, receipt="{}")
    batch = await sealer.store_next(outbox, 4)
    await outbox.withdraw(batch.number)
    cut = await outbox.cut(100)
    assert cut is not None
    assert (cut.number, cut.first_seq, cut.previous) == (2, 5, done.digest)
    assert values(cut.items) == values(readings(6, first=4))


async def test_a_batch_that_is_not_the_newest_can_be_withdrawn_and_its_number_is_not_given_again(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    first = await sealer.store_next(outbox, 4)
    second = await sealer.store_next(outbox, 4)
    await outbox.withdraw(first.number)
    assert await outbox.pending() == second
    cut = await outbox.cut(4)
    assert cut is not None
    assert (cut.number, cut.first_seq, cut.previous) == (3, 1, second.digest)
    assert values(cut.items) == values(readings(4))
    assert (await outbox.counts()).conserved


async def test_a_refused_item_is_put_aside_and_costs_nothing_else(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await outbox.refuse(4, "time lies in the future")
    counts = await outbox.counts()
    assert (counts.quarantined, counts.pending) == (1, 10)  # the nine others and the event that tells of it
    assert counts.conserved
    sent = await drain(outbox, sealer)
    assert values(sent) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    [event] = [item for item in sent if isinstance(item, Event)]
    assert event.kind == "buffer.gap"
    assert event.data == {
        "reason": "refused",
        "detail": "time lies in the future",
        "collector": "main",
        "device_id": "meter-01",
        "first_seq": 4,
        "last_seq": 4,
        "readings": 1,
        "events": 0,
        "from_ms": START_MS,
        "to_ms": START_MS,
    }


@pytest.mark.parametrize("seq", [1, 10])
async def test_the_first_and_the_last_item_of_a_block_can_be_refused(
    buffer: Buffer, outbox: Outbox, sealer: Sealer, seq: int
) -> None:
    await buffer.append(readings(10))
    await outbox.refuse(seq, "wrong")
    assert values(await drain(outbox, sealer)) == [v for v in range(10) if v != seq - 1]
    assert (await outbox.counts()).conserved


async def test_a_cut_may_begin_and_end_inside_a_block(buffer: Buffer, outbox: Outbox, sealer: Sealer) -> None:
    await buffer.append(readings(10))
    await outbox.refuse(1, "wrong")
    first = await outbox.cut(1)
    assert first is not None
    assert (first.first_seq, values(first.items)) == (2, [1.0])
    batch = await sealer.store_next(outbox, 3, after=5)
    assert (batch.first_seq, batch.count) == (6, 3)
    await outbox.deliver(batch.number, quarantined=0, receipt="{}")
    rest = values(await drain(outbox, sealer))
    assert [value for value in rest if value is not None and value >= 0][:6] == [1.0, 2.0, 3.0, 4.0, 8.0, 9.0]
    assert (await outbox.counts()).conserved


async def test_refusing_an_item_that_is_not_there_does_nothing(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(3))
    await sealer.store_next(outbox, 2)
    for seq in (0, 1, 2, 99):
        await outbox.refuse(seq, "wrong")
    counts = await outbox.counts()
    assert (counts.quarantined, counts.produced) == (0, 3)


async def test_delivered_batches_can_be_had_again_by_their_numbers(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(40))
    batches = []
    while (await outbox.cut(10)) is not None:
        batches.append(await sealer.store_next(outbox, 10))
        await outbox.deliver(batches[-1].number, quarantined=0, receipt="{}")
    assert await outbox.kept(15, 31, limit=10) == batches[1:]
    assert await outbox.kept(11, 20, limit=10) == batches[1:2]
    assert await outbox.kept(1, 40, limit=2) == batches[:2]
    assert await outbox.kept(41, 50, limit=2) == []


async def test_a_content_key_is_there_before_its_first_batch_and_remembers_whether_it_was_sent(
    outbox: Outbox,
) -> None:
    await outbox.add_key(b"k" * 16, b"package")
    assert await outbox.key_package(b"k" * 16) == (b"package", False)
    await outbox.key_sent(b"k" * 16)
    assert await outbox.key_package(b"k" * 16) == (b"package", True)
    await outbox.key_sent(b"k" * 16, sent=False)
    assert await outbox.key_package(b"k" * 16) == (b"package", False)
    with pytest.raises(KeyError):
        await outbox.key_package(b"x" * 16)


async def test_a_new_epoch_sends_what_is_not_delivered_with_the_numbers_that_it_has(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await outbox.refuse(8, "wrong")
    done = await sealer.store_next(outbox, 4)
    await outbox.deliver(done.number, quarantined=0, receipt="{}")
    await sealer.store_next(outbox, 2)
    before = outbox.epoch
    await outbox.begin_epoch()
    assert outbox.epoch != before
    counts = await outbox.counts()
    assert counts.conserved
    assert (counts.produced, counts.delivered, counts.pending, counts.quarantined) == (12, 4, 7, 1)
    cut = await outbox.cut(3)
    assert cut is not None
    assert (cut.number, cut.first_seq, cut.previous, cut.earlier) == (1, 5, FIRST_PREVIOUS, True)
    sent = await drain(outbox, sealer)
    assert values(sent) == [4, 5, 6, 8, 9]
    events = [item for item in sent if isinstance(item, Event)]
    assert [event.kind for event in events] == ["buffer.gap", "buffer.epoch-began"]
    assert events[1].data == {
        "reason": "numbers-taken",
        "collector": "main",
        "gateway_id": "",
        "epoch_before": before.hex(),
        "not_sent": [[1, 4]],
    }
    assert (await outbox.counts()).conserved


async def test_what_is_appended_after_an_epoch_began_is_of_that_epoch(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await drain(outbox, sealer)
    await outbox.begin_epoch()
    await buffer.append(readings(1))
    cut = await outbox.cut(10)
    assert cut is not None
    assert (cut.number, cut.first_seq, len(cut.items), cut.earlier) == (1, 11, 2, False)


async def test_a_store_that_changes_its_gateway_begins_a_new_epoch(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    await outbox.belong_to("gw-1")
    first_epoch = outbox.epoch
    await buffer.append(readings(10))
    done = await sealer.store_next(outbox, 4)
    await outbox.deliver(done.number, quarantined=0, receipt="{}")
    await sealer.store_next(outbox, 4)
    await outbox.belong_to("gw-1")
    assert outbox.epoch == first_epoch
    await outbox.belong_to("gw-2")
    assert outbox.epoch != first_epoch
    assert await outbox.pending() is None
    with pytest.raises(KeyError):
        await outbox.key_package(sealer.content_key.key_id)
    assert values(await drain(outbox, sealer)) == values(readings(6, first=4))


async def test_waiting_for_unsealed_items_ends_when_they_are_there(
    buffer: Buffer, outbox: Outbox, sealer: Sealer
) -> None:
    waiting = asyncio.create_task(outbox.wait_unsealed(10))
    await buffer.append(readings(9))
    await settle()
    assert not waiting.done()
    await buffer.append(readings(1))
    await waiting
    await sealer.store_next(outbox)
    again = asyncio.create_task(outbox.wait_unsealed(1))
    await settle()
    assert not again.done()
    again.cancel()


async def test_delivered_envelopes_are_forgotten_after_the_retention_but_not_the_newest(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0, retention_days=30) as buffer:
        outbox = await buffer.outbox("main")
        for _ in range(3):
            await buffer.append(readings(5))
            await drain(outbox, sealer)
        await clock.advance(31 * DAY_MS / 1000)
        assert (await outbox.counts()).batches_kept == 3
        await buffer.append(readings(5))
        last = await sealer.store_next(outbox)
        await outbox.deliver(last.number, quarantined=0, receipt="{}")
        counts = await outbox.counts()
        assert (counts.batches_kept, counts.delivered) == (1, 20)
        assert counts.conserved
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        assert await buffer.append([a_reading()]) == SeqRange(21, 21)
        cut = await outbox.cut(1)
        assert cut is not None
        assert (cut.number, cut.previous) == (last.number + 1, last.digest)


async def test_withdrawing_after_the_retention_has_emptied_the_store_keeps_the_chain(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0, retention_days=1) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.append(readings(5))
        await drain(outbox, sealer)
        await clock.advance(2 * DAY_MS / 1000)
        await buffer.append(readings(5))
        batch = await sealer.store_next(outbox)
        await outbox.deliver(1, quarantined=0, receipt="{}")
        await outbox.withdraw(batch.number)
        cut = await outbox.cut(10)
        assert cut is not None
        assert (cut.number, cut.first_seq) == (2, 6)


async def test_everything_goes_on_where_it_was_after_a_restart(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.append(readings(10))
        await outbox.refuse(9, "wrong")
        done = await sealer.store_next(outbox, 3)
        await outbox.deliver(done.number, quarantined=1, receipt="{}")
        pending = await sealer.store_next(outbox, 3)
        before, epoch = await outbox.counts(), outbox.epoch
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        assert (await outbox.counts(), outbox.epoch) == (before, epoch)
        assert await outbox.pending() == pending
        cut = await outbox.cut(10)
        assert cut is not None
        assert (cut.number, cut.first_seq, cut.previous) == (3, 7, pending.digest)
        assert await buffer.append([a_reading()]) == SeqRange(12, 12)


async def test_readings_wait_for_others_to_share_a_commit(tmp_path: Path, clock: VirtualClock) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        first = asyncio.create_task(buffer.append(readings(3)))
        await clock.advance(0.09)
        second = asyncio.create_task(buffer.append(readings(3)))
        await settle()
        assert not first.done()
        assert not second.done()
        await clock.advance(0.02)
        assert [await first, await second] == [SeqRange(1, 3), SeqRange(4, 6)]


async def test_an_event_does_not_wait_and_takes_along_the_readings_that_do(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        waiting = asyncio.create_task(buffer.append(readings(3)))
        await settle()
        assert await buffer.append([an_event()]) == SeqRange(4, 4)
        assert await waiting == SeqRange(1, 3)


async def test_marks_alone_do_not_wait_for_what_they_permit_waits_for_them(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        await buffer.append([], {"command/c-1": "begun"})
        assert await buffer.marks("command/") == {"command/c-1": "begun"}


async def test_a_full_block_does_not_wait(tmp_path: Path, clock: VirtualClock) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        assert await buffer.append(readings(BLOCK_ITEMS)) == SeqRange(1, BLOCK_ITEMS)


async def test_closing_commits_what_still_waits(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    buffer = await open_buffer(path, clock.clock, window_s=0.1)
    waiting = [asyncio.create_task(buffer.append(readings(3))) for _ in range(20)]
    await settle()
    await buffer.close()
    await buffer.close()
    assert [await task for task in waiting][-1] == SeqRange(58, 60)
    with pytest.raises(BufferUnavailable, match="closed"):
        await buffer.append([a_reading()])
    async with await open_buffer(path, clock.clock) as buffer:
        outbox = await buffer.outbox("main")
        assert (await outbox.counts()).pending == 60


async def test_a_cancelled_append_leaves_no_transaction_open_and_no_hole(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        outbox = await buffer.outbox("main")
        tasks = [asyncio.create_task(buffer.append(readings(2, first=2 * i))) for i in range(10)]
        await settle()
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, buffer.append([an_event()]), return_exceptions=True)
        assert results[1::2] == [SeqRange(2 * i + 1, 2 * i + 2) for i in range(1, 10, 2)]
        cut = await outbox.cut(100)
        assert cut is not None
        assert values(cut.items) == [float(v) for v in range(20)]  # in the queue already, so all were stored
        assert (await outbox.counts()).conserved


async def test_the_oldest_pending_item_tells_how_far_behind_the_collector_is(
    buffer: Buffer, outbox: Outbox, clock: VirtualClock, sealer: Sealer
) -> None:
    assert (await outbox.counts()).oldest_pending_ms is None
    await buffer.append([a_reading()])
    await clock.advance(60)
    await buffer.append([a_reading()])
    assert (await outbox.counts()).oldest_pending_ms == START_MS
    await sealer.store_next(outbox, 1)
    await outbox.deliver(1, quarantined=0, receipt="{}")
    assert (await outbox.counts()).oldest_pending_ms == START_MS + 60_000


async def test_marks_are_found_by_the_beginning_of_their_name(buffer: Buffer) -> None:
    await buffer.append([an_event()], {"door-01.serial": "17", "door-01.键": "值", "door-1": "x"})
    await buffer.append([], {"DOOR-01.serial": "2", "door-01%": "3"})
    assert await buffer.marks("door-01.") == {"door-01.serial": "17", "door-01.键": "值"}
    assert len(await buffer.marks("")) == 5
    assert await buffer.marks("door-2") == {}


async def test_a_mark_replaces_the_one_before_and_an_empty_one_ends_it(buffer: Buffer) -> None:
    await buffer.append([an_event()], {"serial": "1", "counter": "1"})
    await buffer.append([an_event()], {"serial": "2", "counter": "", "never": ""})
    assert await buffer.marks("") == {"serial": "2"}


async def test_of_marks_that_share_a_commit_the_last_stays(tmp_path: Path, clock: VirtualClock) -> None:
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0.1) as buffer:
        tasks = [asyncio.create_task(buffer.append([a_reading()], {"n": str(n)})) for n in range(5)]
        await settle()
        await clock.advance(0.1)
        assert (await asyncio.gather(*tasks))[-1] == SeqRange(5, 5)
        assert await buffer.marks("") == {"n": "4"}


async def test_marks_without_items_take_no_number(buffer: Buffer) -> None:
    await buffer.append(readings(3))
    assert await buffer.append([], {"serial": "1"}) == SeqRange(4, 3)
    assert await buffer.append(readings(1)) == SeqRange(4, 4)
    with pytest.raises(ValueError, match="at least one item or mark"):
        await buffer.append([], {})


@pytest.mark.parametrize("marks", [{"serial": 5}, {5: "serial"}, {"serial": "\ud800"}, {"\udfff": "1"}])
async def test_a_mark_that_could_not_be_read_back_is_refused_with_its_items(
    buffer: Buffer, outbox: Outbox, marks: dict[str, str]
) -> None:
    with pytest.raises(ItemMalformed, match="a driver made a mark"):
        await buffer.append([a_reading()], marks)
    assert (await outbox.counts()).produced == 0


async def test_marks_stay_through_a_restart_a_new_epoch_and_another_gateway(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0, retention_days=1) as buffer:
        outbox = await buffer.outbox("main")
        await outbox.belong_to("gw-1")
        await buffer.append([an_event()], {"serial": "1"})
        await drain(outbox, sealer)
        await outbox.begin_epoch()
        await outbox.belong_to("gw-2")
        await clock.advance(3 * DAY_MS / 1000)
        await drain(outbox, Sealer())
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        assert await buffer.marks("") == {"serial": "1"}
