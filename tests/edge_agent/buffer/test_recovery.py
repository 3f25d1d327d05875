"""What was in a damaged buffer comes back once, whatever interrupts it, and for each collector."""

import random
from pathlib import Path

from edge_agent.buffer import aside
from edge_agent.buffer.aside import remove_oldest, set_aside
from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Event, Item
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock
from tests.support.items import Sealer, a_reading, drain, readings, values


async def open_at(path: Path, clock: VirtualClock) -> SqliteBuffer:
    return await open_buffer(path, clock.clock, window_s=0)


def noise(count: int, *, first: int) -> list[Item]:
    """Readings that no compression makes small."""
    rng = random.Random(first)
    return [a_reading(rng.random() * 1e9, device=f"meter-{rng.randrange(1 << 30)}") for _ in range(count)]


def break_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def told(items: list[Item], kind: str) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == kind]


async def test_a_salvage_that_is_interrupted_goes_on_at_the_next_start(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    written: list[Item] = []
    async with await open_at(path, clock) as buffer:
        await buffer.outbox("main")
        for i in range(50):
            written += noise(2000, first=i)
            await buffer.append(written[-2000:])
    break_header(path)
    starts, missing = 0, 1
    while missing:
        async with await open_at(path, clock) as buffer:
            counts = await (await buffer.outbox("main")).counts()
            assert counts.conserved
            starts, missing = starts + 1, counts.dropped
    assert starts > 2  # it was not done in one go
    async with await open_at(path, clock) as buffer:
        items = await drain(await buffer.outbox("main"), sealer)
    assert [item for item in items if not isinstance(item, Event)] == written
    assert len(told(items, "buffer.salvaged")) == 1
    assert told(items, "buffer.gap") == []


async def test_a_file_that_was_set_aside_right_before_the_agent_ended_is_salvaged(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        await buffer.outbox("main")
        await buffer.append(readings(10))
    break_header(path)
    set_aside(path, "broken", START_MS)
    async with await open_at(path, clock) as buffer:
        await buffer.wait_salvaged()
        items = await drain(await buffer.outbox("main"), sealer)
    assert values(items) == values(readings(10))


async def test_each_collector_gets_what_it_had_not_and_nothing_again(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        city, county = await buffer.outbox("city"), await buffer.outbox("county")
        await buffer.append(readings(100))
        await drain(city, sealer)
        await buffer.append(readings(50, first=100))
        under_way = await sealer.store_next(county, 30)
    break_header(path)
    async with await open_at(path, clock) as buffer:
        await buffer.wait_salvaged()
        city, county = await buffer.outbox("city"), await buffer.outbox("county")
        assert values(await drain(city, sealer)) == values(readings(50, first=100))
        again = await county.pending()
        assert again == under_way  # byte for byte
        await county.deliver(under_way.number, quarantined=0, receipt="{}")
        assert values(await drain(county, sealer)) == values(readings(120, first=30))
        for outbox in (city, county):
            counts = await outbox.counts()
            assert (counts.conserved, counts.pending, counts.dropped) == (True, 0, 0)


async def test_a_file_that_breaks_while_it_is_in_use_is_replaced_without_an_error(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        for i in range(50):
            await buffer.append(noise(1000, first=i))
        await buffer.core.read(
            lambda connection: connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        )
        pages = path.stat().st_size // 4096
        with path.open("r+b") as file:
            for page in range(1, pages, 2):
                file.seek(page * 4096)
                file.write(b"\xff" * 4096)
        await buffer.core.read(lambda connection: connection.execute_fetchall("PRAGMA shrink_memory"))
        first, last = await buffer.append([a_reading(-1.0)])
        assert first == last
        await buffer.look_through()
        await buffer.wait_salvaged()
        items = await drain(outbox, sealer)
        assert values(items).count(-1.0) == 1
        assert len(told(items, "buffer.set-aside")) == 1
        assert (await outbox.counts()).conserved


def test_of_files_set_aside_the_newest_stay(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    kept = []
    for number in range(6):
        path.write_bytes(b"broken %d" % number)
        path.with_name("buffer.db-wal").write_bytes(b"log")
        kept.append(set_aside(path, "broken", START_MS + number * 1000).path.name)
    removed = remove_oldest(path, needed=[kept[0]])
    assert sorted(removed) == kept[1:3]
    assert not any((tmp_path / (name + "-wal")).exists() for name in removed)
    assert all((tmp_path / name).exists() for name in [kept[0], *kept[3:]])


def test_the_newest_file_set_aside_stays_however_large_it_is(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    names = []
    for number in range(2):
        with path.open("wb") as file:
            file.truncate(aside.KEPT_BYTES + 1)  # of holes
        names.append(set_aside(path, "broken", START_MS + number * 1000).path.name)
    assert remove_oldest(path) == names[:1]
