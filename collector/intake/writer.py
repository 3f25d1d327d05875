"""Commits what several gateways have sent in one transaction, and tells each of its own outcome.

A commit waits for the disk. While it does, more jobs arrive; they are committed together by the next one.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from collector.store.engine import Store

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

MAX_GROUP = 20_000  # items in one transaction, about 0.1 s: nobody else can write meanwhile


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    items: int
    outcome: "asyncio.Future[Any]"


class GroupWriter:
    """Runs jobs in the order in which they came. Use it as `async with`; it ends when all are done."""

    def __init__(self, store: Store, *, on_rollback: Callable[[], None]) -> None:
        self._store = store
        self._on_rollback = on_rollback
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "GroupWriter":
        self._task = asyncio.create_task(self._run(), name="intake writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def submit(self, job: Callable[[sqlite3.Connection], T], items: int = 1) -> T:
        """Run `job` in a transaction and return its result once that is committed.

        When it raises, nothing of it stays, and the others of the same transaction are not touched.
        """
        if self._closing:
            raise RuntimeError("the writer is closed")
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, items, outcome))
        self._arrived.set()
        return await outcome

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = self._next_group()
            try:
                outcomes = await self._store.bulk(partial(self._work, group))
            except Exception as err:  # the disk, or the transaction as a whole: every sender is told
                self._on_rollback()
                outcomes = [err] * len(group)
            for waiting, outcome in zip(group, outcomes, strict=True):
                if waiting.outcome.done():
                    continue  # its sender has gone
                if isinstance(outcome, Exception):
                    waiting.outcome.set_exception(outcome)
                else:
                    waiting.outcome.set_result(outcome)

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        items = 0
        while self._waiting and (not group or items + self._waiting[0].items <= MAX_GROUP):
            waiting = self._waiting.popleft()
            items += waiting.items
            group.append(waiting)
        return group

    def _work(self, group: list[_Waiting], connection: sqlite3.Connection) -> list[Any]:
        outcomes: list[Any] = []
        for waiting in group:
            connection.execute("SAVEPOINT job")
            try:
                outcomes.append(waiting.job(connection))
            except Exception as err:  # told to the one who sent it
                if not connection.in_transaction:
                    raise  # SQLite has rolled back everything, as it does when the disk is full
                outcomes.append(err)
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        return outcomes
