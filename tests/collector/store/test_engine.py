"""The store keeps what was committed, forgets what was not, and lets one write at a time."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import OperationalError

from collector.store.engine import Store, StoreUnusable
from collector.store.schema import site
from collector.store.upgrade import upgrade
from tests.support.collector import open_store


async def codes(store: Store) -> list[str]:
    async with store.read() as connection:
        return list((await connection.execute(select(site.c.code).order_by(site.c.code))).scalars())


def put(connection: sqlite3.Connection, code: str) -> int:
    return connection.execute("INSERT INTO site (code, name) VALUES (?, 'x')", (code,)).rowcount


async def test_what_was_written_is_read_by_the_next_connection_and_after_reopening(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        async with store.write() as connection:
            await connection.execute(insert(site).values(code="a", name="x"))
        assert await store.bulk(lambda connection: put(connection, "b")) == 1
        assert await codes(store) == ["a", "b"]
    async with open_store(tmp_path) as store:
        assert await codes(store) == ["a", "b"]


async def test_the_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "采集 50%?#&x"
    folder.mkdir()
    async with open_store(folder) as store:
        await store.bulk(lambda connection: put(connection, "a"))
        assert await codes(store) == ["a"]
    assert (folder / "collector.db").is_file()


async def test_a_write_that_raises_leaves_nothing(store: Store) -> None:
    def put_and_fail(connection: sqlite3.Connection) -> None:
        put(connection, "b")
        raise LookupError

    async def write_and_fail() -> None:
        async with store.write() as connection:
            await connection.execute(insert(site).values(code="a", name="x"))
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    with pytest.raises(LookupError):
        await store.bulk(put_and_fail)
    assert await codes(store) == []
    assert await store.bulk(lambda connection: put(connection, "c")) == 1


async def test_a_cancelled_write_leaves_nothing_and_the_next_one_goes_on(store: Store) -> None:
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with store.write() as connection:
            await connection.execute(insert(site).values(code="a", name="x"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.write() as connection:
        await connection.execute(insert(site).values(code="b", name="x"))
    assert await codes(store) == ["b"]


async def test_a_bulk_write_whose_caller_is_cancelled_is_finished_before_the_next(store: Store) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        put(connection, "slow")

    task = asyncio.create_task(store.bulk(slow))
    await begun.wait()
    task.cancel()
    following = asyncio.create_task(store.bulk(lambda connection: put(connection, "next")))
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await following == 1
    assert await codes(store) == ["next", "slow"]


async def test_writes_of_both_kinds_wait_for_each_other(store: Store) -> None:
    async def count_up() -> None:
        async with store.write() as connection:
            seen = (await connection.execute(text("SELECT count(*) FROM site"))).scalar_one()
            await connection.execute(insert(site).values(code=f"{seen:03}", name="x"))

    def count_up_in_bulk(connection: sqlite3.Connection) -> None:
        [seen] = connection.execute("SELECT count(*) FROM site").fetchone()
        put(connection, f"{seen:03}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(count_up())
            tasks.create_task(store.bulk(count_up_in_bulk))
    assert await codes(store) == [f"{number:03}" for number in range(20)]


async def test_a_reader_sees_one_state_while_others_write(store: Store) -> None:
    async with store.read() as connection:
        before = (await connection.execute(text("SELECT count(*) FROM site"))).scalar_one()
        await store.bulk(lambda plain: put(plain, "a"))
        after = (await connection.execute(text("SELECT count(*) FROM site"))).scalar_one()
    assert (before, after) == (0, 0)
    assert await codes(store) == ["a"]


async def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        async with store.read() as connection:
            await connection.execute(insert(site).values(code="a", name="x"))


async def test_every_connection_waits_for_the_disk(store: Store) -> None:
    async with store.read() as reader, store.write() as writer:
        for connection in (reader, writer):
            assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
            assert (await connection.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
    assert await store.bulk(lambda plain: plain.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_a_store_may_be_closed_twice(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.close()


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        pytest.param("0000", "run `collector init`", id="older"),
        pytest.param("9999", "start the newer program", id="newer"),
    ],
)
async def test_a_database_of_another_version_is_refused_with_what_to_do(
    tmp_path: Path, version: str, advice: str
) -> None:
    path = tmp_path / "collector.db"
    upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnusable, match=advice):
        await Store.open(path)


async def test_a_file_that_is_no_collectors_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="create it with `collector init`"):
        await Store.open(tmp_path / "collector.db")
    (tmp_path / "text.db").write_text("not a database" * 100)
    with pytest.raises(StoreUnusable, match="not a database of a collector"):
        await Store.open(tmp_path / "text.db")
