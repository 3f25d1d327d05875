"""The store as its parts share it: one writer, one file, and how far each collector is in it.

Everything but the first few calls runs in the writer's task, one thing after the other.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import aiosqlite

from edge_agent.buffer import outboxes, rows
from edge_agent.buffer.contract import SeqRange
from edge_agent.buffer.database import Database, disk_refused, is_damage
from edge_agent.buffer.outboxes import OutboxState
from edge_agent.buffer.writer import Append, Writer
from models.at_rest import AtRest
from models.reading import GATEWAY, Event
from models.times import Clock

T = TypeVar("T")
Work = Callable[[aiosqlite.Connection], Awaitable[None]]


class Core:
    """`open_file` opens the database, or another that takes its place; `tidy` runs after each commit."""

    def __init__(
        self,
        database: Database,
        at_rest: AtRest,
        clock: Clock,
        *,
        window_s: float,
        insert: Callable[[Sequence[Append]], Awaitable[None]],
        tidy: Callable[[], Awaitable[None]],
        open_file: Callable[[], Awaitable[None]],
    ) -> None:
        self.database: Final = database
        self.at_rest: Final = at_rest
        self.clock: Final = clock
        self._insert, self._open_file = insert, open_file
        self._states: dict[str, OutboxState] = {}
        self._grew = asyncio.Event()
        self.last_seq = 0  # that was given, as of the last commit, or of the transaction that is under way
        self.unchecked_bytes = 0  # written since the size of the file was looked at
        self.writer: Final = Writer(self._commit, tidy, clock=clock, window_s=window_s)

    @property
    def path(self) -> Path:
        return self.database.path

    @property
    def connection(self) -> aiosqlite.Connection:
        return self.database.connection

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` in the writer's task, where nothing else writes."""
        return await self.writer.run(work)

    async def read(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        return await self.run(lambda: self.guarded(lambda: work(self.connection)))

    async def grown(self) -> None:
        """Return when something may have been appended."""
        self._grew.clear()
        await self._grew.wait()

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def state_of(self, name: str) -> OutboxState | None:
        return self._states.get(name)

    def states(self, *, without: str = "") -> list[OutboxState]:
        return [state for state in self._states.values() if state.name != without]

    # All that follows runs in the writer's task.

    async def guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let SQLite's errors end here. When the file is damaged, do `work` in what replaces it."""
        for is_last in (False, True):
            if not self.database.is_open:
                await self._open_file()
            try:
                return await work()
            except (sqlite3.Error, UnicodeDecodeError) as err:
                if is_damage(err):
                    await self.database.suspect(err)
                if is_last or self.database.is_open:
                    raise disk_refused(self.path, err) from err
        raise AssertionError("the second time it has returned or raised")

    async def changing(
        self, work: Work, *, unsealed: Mapping[str, int] | None = None, bytes_written: int = 0
    ) -> None:
        """Do `work` in one transaction. `unsealed`: what every outbox has after it, where that is known."""

        async def transaction() -> None:
            known = None
            try:
                async with self.database.transaction() as connection:
                    await work(connection)
                known = unsealed
            finally:
                await self.load(known)

        await self.guarded(transaction)
        self.database.witness.note(self.last_seq)
        self.unchecked_bytes += bytes_written
        self._grew.set()

    async def tell(self, connection: aiosqlite.Connection, kind: str, facts: Mapping[str, object]) -> None:
        """Append an event of the gateway's own, in the transaction of what it tells of."""
        now_ms = self.now_ms()
        event = Event(device_id=GATEWAY, kind=kind, data=dict(facts), measured_ms=now_ms, received_ms=now_ms)
        self.last_seq += 1
        await rows.insert_items(connection, [event], self.last_seq, now_ms, self.at_rest)

    async def load(self, unsealed: Mapping[str, int] | None = None) -> None:
        """Find out anew how far everything is."""
        self._states = await outboxes.load_outboxes(self.connection, unsealed)
        self.last_seq = await outboxes.last_seq(self.connection)

    async def reload_states(self) -> None:
        """As `load`, in a transaction that has given numbers which no row has yet."""
        self._states = await outboxes.load_outboxes(self.connection)

    async def _commit(self, group: Sequence[Append]) -> list[SeqRange]:
        await self.guarded(lambda: self._insert(group))
        ranges: list[SeqRange] = []
        last = self.last_seq
        for append in group:
            ranges.append(SeqRange(last + 1, last + append.count))
            last += append.count
        added = last - self.last_seq
        self.last_seq = last
        self.database.witness.note(last)
        self._states = {
            name: replace(state, unsealed=state.unsealed + added) for name, state in self._states.items()
        }
        self._grew.set()
        return ranges
