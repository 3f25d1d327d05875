"""Jobs that wait together are committed together, and none of them spoils another."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from collector.intake.writer import MAX_GROUP, GroupWriter
from collector.store.engine import Store

Rows = Callable[..., list[Any]]


def nothing() -> None:
    pass


def add(code: str) -> Callable[[sqlite3.Connection], str]:
    def job(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO site (code, name) VALUES (?, 'x')", (code,))
        return code

    return job


async def test_each_job_gets_its_own_result(store: Store, rows: Rows) -> None:
    async with GroupWriter(store, on_rollback=nothing) as writer:
        results = await asyncio.gather(*(writer.submit(add(f"{n:02}")) for n in range(20)))
    assert results == [f"{n:02}" for n in range(20)] == rows("SELECT code FROM site ORDER BY id")


async def test_a_job_that_fails_takes_back_its_own_rows_only(store: Store, rows: Rows) -> None:
    def add_and_fail(connection: sqlite3.Connection) -> None:
        add("wrong")(connection)
        raise LookupError("no")

    async with GroupWriter(store, on_rollback=nothing) as writer:
        results = await asyncio.gather(
            writer.submit(add("a")),
            writer.submit(add_and_fail),
            writer.submit(add("b")),
            writer.submit(add("a")),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [str, LookupError, str, sqlite3.IntegrityError]
    assert rows("SELECT code FROM site ORDER BY id") == ["a", "b"]


async def test_when_the_transaction_fails_everyone_is_told_and_the_next_one_works(
    store: Store, rows: Rows
) -> None:
    rolled_back = []

    def end_transaction(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")  # as SQLite itself does when the disk is full

    async with GroupWriter(store, on_rollback=lambda: rolled_back.append(True)) as writer:
        results = await asyncio.gather(
            writer.submit(add("a")), writer.submit(end_transaction), return_exceptions=True
        )
        assert [type(result) for result in results] == [sqlite3.OperationalError] * 2
        assert rolled_back == [True]
        assert await writer.submit(add("b")) == "b"
    assert rows("SELECT code FROM site") == ["b"]


async def test_a_sender_that_goes_away_harms_nobody(store: Store, rows: Rows) -> None:
    async with GroupWriter(store, on_rollback=nothing) as writer:
        gone = asyncio.create_task(writer.submit(add("a")))
        staying = asyncio.create_task(writer.submit(add("b")))
        await asyncio.sleep(0)
        gone.cancel()
        assert await staying == "b"
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert rows("SELECT code FROM site ORDER BY id") == ["a", "b"]


async def test_what_waits_when_the_writer_is_closed_is_still_written(store: Store, rows: Rows) -> None:
    async with GroupWriter(store, on_rollback=nothing) as writer:
        waiting = [asyncio.create_task(writer.submit(add(str(n)), MAX_GROUP)) for n in range(3)]
        await asyncio.sleep(0)
    assert [await task for task in waiting] == ["0", "1", "2"]
    assert rows("SELECT count(*) FROM site") == [3]
    with pytest.raises(RuntimeError):
        await writer.submit(add("late"))
