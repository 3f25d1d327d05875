"""Several collectors share one store, and each gets everything, in its own time."""

from pathlib import Path

import aiosqlite
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.buffer.contract import BufferUnavailable, Outbox
from edge_agent.buffer.losses import Lost, give_up
from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.rows import delete_between, find_blocks
from edge_agent.buffer.spans import Spans
from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Event, Item, Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, an_event, drain, readings, values


@pytest.fixture
async def area(buffer: SqliteBuffer) -> Outbox:
    """A second collector."""
    return await buffer.outbox("area")


async def blocks_in(buffer: SqliteBuffer) -> int:
    sql = "SELECT count(*) FROM block"
    [(count,)] = await buffer.core.read(lambda connection: connection.execute_fetchall(sql))
    return int(count)


async def test_each_collector_gets_all_and_nothing_goes_before_both_have_it(
    buffer: SqliteBuffer, outbox: Outbox, area: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(100))
    assert values(await drain(outbox, sealer)) == values(readings(100))
    counts = await area.counts()
    assert (counts.pending, counts.delivered, counts.conserved) == (100, 0, True)
    other = Sealer()
    assert values(await drain(area, other, 7)) == values(readings(100))
    for box in (outbox, area):
        counts = await box.counts()
        assert (counts.delivered, counts.pending, counts.oldest_pending_ms) == (100, 0, None)
        assert counts.conserved
    found = await buffer.core.read(
        lambda connection: connection.execute_fetchall("SELECT count(*) FROM block")
    )
    assert [count for (count,) in found] == [0]


async def test_batches_of_two_collectors_do_not_meet(
    buffer: SqliteBuffer, outbox: Outbox, area: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    one, two = await sealer.store_next(outbox, 4), await Sealer().store_next(area, 7)
    assert (one.number, two.number) == (1, 1)
    assert (await outbox.pending(), await area.pending()) == (one, two)
    await area.withdraw(two.number)
    assert await outbox.pending() == one


async def test_what_one_collector_refuses_the_other_gets(
    buffer: SqliteBuffer, outbox: Outbox, area: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await area.refuse(4, "wrong")
    assert values(await drain(outbox, sealer)) == values(readings(10))
    assert values(await drain(area, Sealer())) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert ((await outbox.counts()).quarantined, (await area.counts()).quarantined) == (0, 1)
    assert (await outbox.counts()).conserved
    assert (await area.counts()).conserved


async def test_a_collector_that_joins_later_gets_what_is_still_here(
    buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await drain(outbox, sealer)
    await buffer.append(readings(5, first=10))
    late = await buffer.outbox("late")
    assert values(await drain(late, Sealer())) == values(readings(5, first=10))
    counts = await late.counts()
    assert (counts.produced, counts.delivered, counts.conserved) == (5, 5, True)


async def test_a_collector_that_is_forgotten_holds_nothing_back(
    buffer: SqliteBuffer, outbox: Outbox, area: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await Sealer().store_next(area)
    await drain(outbox, sealer)
    await buffer.forget("area")
    assert await buffer.outboxes() == ["main"]
    with pytest.raises(BufferUnavailable, match="'area'"):
        await area.cut(1)
    found = await buffer.core.read(
        lambda connection: connection.execute_fetchall("SELECT count(*) FROM block")
    )
    assert [count for (count,) in found] == [0]


async def test_the_last_collector_leaves_what_is_here_to_the_next(
    buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await buffer.forget("main")
    assert values(await drain(await buffer.outbox("another"), sealer)) == values(readings(10))


async def test_a_cut_can_begin_behind_what_waits(
    buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    """Live readings go before a backlog."""
    await buffer.append(readings(100))
    await buffer.append(readings(10, first=100))
    live = await sealer.store_next(outbox, 50, after=100)
    assert (live.number, live.first_seq, live.count) == (1, 101, 10)
    await outbox.deliver(1, quarantined=0, receipt="{}")
    await buffer.append(readings(10, first=110))
    assert values(await drain(outbox, sealer, 60)) == [*map(float, range(100)), *map(float, range(110, 120))]
    assert (await outbox.counts()).conserved


async def test_a_store_that_is_put_back_from_a_copy_begins_a_new_epoch_for_every_collector(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        await buffer.append(readings(10))
        before = {name: (await buffer.outbox(name)).epoch for name in ("main", "area")}
        await sealer.store_next(await buffer.outbox("main"), 4)
    path.with_name("copy").write_bytes(path.read_bytes())
    path.with_name("copy").replace(path)
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        epochs = {name: (await buffer.outbox(name)).epoch for name in ("main", "area")}
        assert epochs["main"] != before["main"]
        assert epochs["area"] != before["area"]
        sent = await drain(await buffer.outbox("main"), sealer)
        assert values(sent) == values(readings(10))
        told = [item.data["reason"] for item in sent if isinstance(item, Event)]
        assert told == ["restored-from-copy"] * 2
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        assert (await buffer.outbox("main")).epoch == epochs["main"]


async def test_an_item_that_was_refused_and_then_lost_does_not_come_back_with_its_batch(
    buffer: SqliteBuffer, outbox: SqliteOutbox, sealer: Sealer
) -> None:
    await buffer.append(readings(10))
    await outbox.refuse(4, "wrong")

    async def lose(connection: aiosqlite.Connection) -> None:
        [block] = await find_blocks(connection, "first_seq = ?", (1,))
        await give_up(
            connection,
            block,
            lambda item: isinstance(item, Reading) and item.value == 3.0,
            buffer.core.states(),
            buffer.core.at_rest,
            Lost("thinned"),
            thinned=1,
        )

    await buffer.core.run(lambda: buffer.core.changing(lose))
    batch = await sealer.store_next(outbox, 10)
    await outbox.withdraw(batch.number)
    counts = await outbox.counts()
    assert (counts.pending, counts.unsealed, counts.quarantined, counts.dropped) == (10, 10, 1, 0)
    assert counts.conserved


async def test_a_new_epoch_says_that_numbers_in_no_block_will_not_be_sent(
    buffer: SqliteBuffer, outbox: SqliteOutbox, sealer: Sealer
) -> None:
    for first in (0, 5, 10):
        await buffer.append(readings(5, first=first))
    await buffer.core.run(
        lambda: buffer.core.changing(lambda connection: delete_between(connection, Spans([(6, 10)])))
    )
    await outbox.begin_epoch()
    [event] = [item for item in await drain(outbox, sealer) if isinstance(item, Event)]
    assert event.data["not_sent"] == [[6, 10]]


NAMES = ("main", "area", "third")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["append", "event", "store", "live", "inside", "deliver", "withdraw", "refuse", "epoch", "reopen"]
        ),
        st.sampled_from(NAMES),
        st.integers(1, 40),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_is_done_every_collector_gets_every_reading_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    clock, path = VirtualClock(), tmp_path_factory.mktemp("store") / "buffer.db"
    sealers = {name: Sealer() for name in NAMES}
    delivered: dict[str, list[float | None]] = {name: [] for name in NAMES}
    refused: dict[str, list[float | None]] = {name: [] for name in NAMES}
    under_way: dict[tuple[str, bytes, int], list[float | None]] = {}
    count = 0
    buffer = await open_buffer(path, clock.clock, window_s=0)
    try:
        for kind, name, size in [("append", "main", 1), *((k, n, s) for k, n, s in steps)]:
            box = await buffer.outbox(name)
            for other in NAMES:
                await buffer.outbox(other)
            if kind == "append":
                await buffer.append(readings(size, first=count))
                count += size
            elif kind == "event":
                await buffer.append([an_event()])
            elif kind in ("store", "live", "inside"):
                after = {"store": 0, "live": max(0, buffer.last_seq - size), "inside": size}[kind]
                cut = await box.cut(size, after=after)
                if cut is not None:
                    batch = await sealers[name].store_next(box, size, after=after)
                    under_way[name, box.epoch, batch.number] = values(cut.items)
            elif kind == "deliver":
                pending = await box.pending()
                if pending is not None:
                    await box.deliver(pending.number, quarantined=0, receipt="{}")
                    delivered[name] += under_way.pop((name, box.epoch, pending.number))
            elif kind == "withdraw":
                pending = await box.pending()
                if pending is not None:
                    await box.withdraw(pending.number)
            elif kind == "refuse":
                cut = await box.cut(1)
                if cut is not None and isinstance(item := cut.items[0], Reading):
                    await box.refuse(cut.first_seq, "wrong")
                    refused[name].append(item.value)
            elif kind == "epoch":
                await box.begin_epoch()
            else:
                await buffer.close()
                buffer = await open_buffer(path, clock.clock, window_s=0)
            for other in NAMES:
                assert (await (await buffer.outbox(other)).counts()).conserved
        for name in NAMES:
            box = await buffer.outbox(name)
            while (pending := await box.pending()) is not None:
                await box.withdraw(pending.number)
            rest: list[Item] = await drain(box, sealers[name], 9)
            everything = [v for v in (*delivered[name], *refused[name], *values(rest)) if v is not None]
            assert sorted(everything) == [float(number) for number in range(count)]
            counts = await box.counts()
            assert (counts.pending, counts.dropped, counts.conserved) == (0, 0, True)
    finally:
        await buffer.close()
