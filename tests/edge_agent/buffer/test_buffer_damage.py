"""A file or disk that fails costs as little as it can, and never keeps the gateway from starting."""

import contextlib
import os
import random
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.buffer.contract import BufferUnavailable, SeqRange
from edge_agent.buffer.database import BufferInUse, BufferOfAnotherVersion
from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Event
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, a_reading, drain, readings, values


async def open_at(path: Path, clock: VirtualClock) -> SqliteBuffer:
    return await open_buffer(path, clock.clock, window_s=0)


def set_aside(folder: Path) -> list[Path]:
    return sorted(folder.glob("buffer.db.damaged-*"))


def remove_all(folder: Path) -> None:
    for file in folder.glob("buffer.db*"):
        file.unlink()


def largest(folder: Path) -> int:
    return max(file.stat().st_size for file in folder.iterdir())


async def filled(path: Path, clock: VirtualClock, *, appends: int = 20) -> bytes:
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        for i in range(appends):
            await buffer.append(readings(200, first=200 * i))
        return outbox.epoch


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk does: a write beyond that size fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            b"not a database at all, but long enough to have a header" * 30, "not a database", id="text"
        ),
        pytest.param(b"SQLite format 3\x00" + bytes(5000), "", id="zeros"),
    ],
)
async def test_a_file_that_is_no_database_is_set_aside_and_told_of(
    tmp_path: Path, clock: VirtualClock, content: bytes, reason: str
) -> None:
    path = tmp_path / "buffer.db"
    path.write_bytes(content)
    async with await open_at(path, clock) as buffer:
        await buffer.wait_salvaged()
        outbox = await buffer.outbox("main")
        cut = await outbox.cut(10)
        assert cut is not None
        event, after = cut.items
        assert isinstance(event, Event)
        assert event.kind == "buffer.set-aside"
        assert reason in event.data["reason"]
        assert (tmp_path / event.data["file"]).read_bytes() == content
        assert isinstance(after, Event)
        assert (after.kind, after.data["items"], after.data["missing"]) == ("buffer.salvaged", 0, 0)
        assert await buffer.append([a_reading()]) == SeqRange(3, 3)


async def test_a_database_of_another_program_is_set_aside(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.commit()
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.wait_salvaged()
        assert (await outbox.counts()).produced == 2
    assert len(set_aside(tmp_path)) == 1


async def test_two_damaged_files_of_one_second_are_both_kept(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    for content in (b"first" * 1000, b"second" * 1000):
        path.write_bytes(content)
        await (await open_at(path, clock)).close()
    assert sorted(kept.read_bytes()[:5] for kept in set_aside(tmp_path)) == [
        b"first",
        b"secon",
    ]


async def test_a_store_of_a_newer_agent_is_left_alone(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    await filled(path, clock, appends=1)
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 2")
        newer.execute("UPDATE meta SET value = 2 WHERE name = 'version'")
        newer.commit()
    before = path.read_bytes()
    with pytest.raises(BufferOfAnotherVersion, match="newer edge-agent"):
        await open_at(path, clock)
    assert path.read_bytes() == before


async def test_a_folder_in_its_place_is_told_and_left_alone(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    path.mkdir()
    with pytest.raises(BufferUnavailable, match="Is a directory"):
        await open_at(path, clock)
    assert path.is_dir()


async def test_what_is_kept_is_for_its_owner_alone_to_read(tmp_path: Path, clock: VirtualClock) -> None:
    async with await open_at(tmp_path / "buffer.db", clock) as buffer:
        await buffer.append([a_reading()])
        modes = {file.name: file.stat().st_mode & 0o777 for file in os.scandir(tmp_path)}
    names = ("buffer.db", "buffer.db-shm", "buffer.db-wal", "buffer.db.lock")
    assert modes == dict.fromkeys(names, 0o600)


async def test_a_store_that_is_in_use_is_not_opened_twice(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        with pytest.raises(BufferInUse, match="another edge-agent"):
            await open_at(path, clock)
        await buffer.append([a_reading()])
    await (await open_at(path, clock)).close()


async def test_whatever_bytes_are_changed_the_store_opens_and_takes_readings(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    await filled(path, clock)
    good = path.read_bytes()
    rng = random.Random(7)
    survived = 0
    for _ in range(40):
        remove_all(tmp_path)
        bad = bytearray(good)
        if rng.random() < 0.2:
            del bad[rng.randrange(len(bad)) :]
        for _ in range(rng.choice([1, 1, 30])):
            if bad:
                bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        async with await open_at(path, clock) as buffer:
            await buffer.wait_salvaged()
            outbox = await buffer.outbox("main")
            is_same = buffer.last_seq >= 4000
            survived += is_same
            await buffer.append([a_reading(-1.0)])
            sent = await drain(outbox, sealer, 400)
            assert values(sent).count(-1.0) == 1
            assert (await outbox.counts()).pending == 0
            if is_same:
                assert set(values(sent)) <= {*map(float, range(4000)), -1.0}
    assert survived > 10


async def test_a_damaged_block_costs_its_readings_alone_and_is_told_of(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    await filled(path, clock, appends=3)
    with contextlib.closing(sqlite3.connect(path)) as changer:
        changer.execute("UPDATE block SET data = zeroblob(length(data)) WHERE first_seq = 201")
        changer.commit()
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        sent = await drain(outbox, sealer)
        assert values(sent) == [*map(float, range(200)), *map(float, range(400, 600))]
        [event] = [item for item in sent if isinstance(item, Event)]
        assert event.kind == "buffer.gap"
        assert {name: event.data[name] for name in ("reason", "first_seq", "last_seq")} == {
            "reason": "damaged",
            "first_seq": 201,
            "last_seq": 400,
        }
        counts = await outbox.counts()
        assert counts.conserved
        assert counts.dropped == 200


@pytest.mark.parametrize("how", ["withdrawn", "new-epoch"])
async def test_items_that_were_in_a_batch_alone_are_told_of_when_the_batch_is_taken_back(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer, how: str
) -> None:
    path = tmp_path / "buffer.db"
    await filled(path, clock, appends=2)
    async with await open_at(path, clock) as buffer:
        await sealer.store_next(await buffer.outbox("main"), 200)
    with contextlib.closing(sqlite3.connect(path)) as changer:
        changer.execute("UPDATE block SET data = zeroblob(length(data)) WHERE first_seq = 1")
        changer.commit()
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.look_through()
        assert (await outbox.counts()).dropped == 0  # the envelope still has them
        await (outbox.withdraw(1) if how == "withdrawn" else outbox.begin_epoch())
        counts = await outbox.counts()
        assert (counts.dropped, counts.conserved) == (200, True)
        sent = await drain(outbox, sealer)
        gaps = [item for item in sent if isinstance(item, Event) and item.kind == "buffer.gap"]
        assert {(gap.data["first_seq"], gap.data["last_seq"]) for gap in gaps} == {(1, 200)}


async def test_an_append_that_the_disk_refuses_stores_nothing_and_can_be_repeated(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.append(readings(10))
        used = largest(tmp_path)
        with files_no_larger_than(used):
            for _ in range(3):
                with pytest.raises(BufferUnavailable, match="check the disk"):
                    await buffer.append(readings(5000, first=10))
            assert (await outbox.counts()).produced == 10
        assert await buffer.append(readings(5000, first=10)) == SeqRange(11, 5010)
        assert values(await drain(outbox, sealer)) == values(readings(5010))
        assert (await outbox.counts()).conserved


async def test_a_disk_that_refuses_everything_is_said_at_the_start(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with files_no_larger_than(0), pytest.raises(BufferUnavailable, match=r"buffer\.db"):
        await open_at(tmp_path / "buffer.db", clock)
    (tmp_path / "file").touch()
    with pytest.raises(BufferUnavailable, match="rights of its folder"):
        await open_at(tmp_path / "file" / "buffer.db", clock)


async def test_a_refused_append_leaves_its_marks_as_they_were(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        await buffer.append(readings(10), {"serial": "1"})
        with files_no_larger_than(largest(tmp_path)), pytest.raises(BufferUnavailable):
            await buffer.append(readings(5000), {"serial": "2"})
        assert await buffer.marks("") == {"serial": "1"}


async def test_marks_are_carried_over_from_a_file_that_is_set_aside(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.append(readings(10), {"door.serial": "41", "ble.counter": "7"})
    with contextlib.closing(sqlite3.connect(path)) as changer:
        changer.execute("CREATE TABLE foreign_table (text)")
        changer.commit()
    async with await open_at(path, clock) as buffer:
        outbox = await buffer.outbox("main")
        assert await buffer.marks("") == {"door.serial": "41", "ble.counter": "7"}
        await buffer.wait_salvaged()
        cut = await outbox.cut(20)
        assert cut is not None
        told = [item for item in cut.items if isinstance(item, Event)]
        assert [(event.kind, event.data.get("marks_kept")) for event in told] == [
            ("buffer.set-aside", 2),
            ("buffer.salvaged", None),
        ]
        assert values(cut.items) == values(readings(10))
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize(
    "change", ["name = 'door.serjal'", "value = x'42'", "value = zeroblob(40)", "value = x''"]
)
async def test_a_mark_that_was_changed_counts_as_not_there(
    tmp_path: Path, clock: VirtualClock, change: str
) -> None:
    path = tmp_path / "buffer.db"
    async with await open_at(path, clock) as buffer:
        await buffer.append(readings(10), {"door.serial": "41", "ble.counter": "7"})
    with contextlib.closing(sqlite3.connect(path)) as changer:
        changer.execute(f"UPDATE mark SET {change} WHERE name = 'door.serial'")  # noqa: S608  # our own text
        changer.commit()
    async with await open_at(path, clock) as buffer:
        assert await buffer.marks("") == {"ble.counter": "7"}
