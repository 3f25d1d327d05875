"""The buffer in one SQLite file: blocks of what was appended, and batches made of them for each collector."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import aiosqlite

from edge_agent.buffer import outboxes, rows
from edge_agent.buffer.blocks import blocks_of, chunks_of
from edge_agent.buffer.contract import SeqRange
from edge_agent.buffer.database import CHECKED_AT_ONCE_BYTES, Database, bytes_used, disk_refused, is_damage
from edge_agent.buffer.losses import Lost
from edge_agent.buffer.marks import checked, read_marks, write_marks
from edge_agent.buffer.outbox import SqliteOutbox, begin_epoch
from edge_agent.buffer.outboxes import OutboxState
from edge_agent.buffer.room import make_room
from edge_agent.buffer.rounds import EVERY_S, Rounds
from edge_agent.buffer.salvaging import Salvaging, unfinished_aside
from edge_agent.buffer.writer import TELEMETRY_WINDOW_S, Append, Writer
from models.at_rest import AtRest
from models.reading import GATEWAY, Event, Item
from models.times import DAY_MS, Clock

T = TypeVar("T")
Work = Callable[[aiosqlite.Connection], Awaitable[None]]

MIN_MB: Final = 16
_MB = 1 << 20
_WAL_ALLOWANCE = 6 * _MB  # the log beside the file: 4 MB between checkpoints and the largest transaction
_CHECK_EVERY_BYTES = 256 << 10  # how much is written between two looks at the size of the file


class SqliteBuffer:
    """See `edge_agent.buffer.contract.Buffer`."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        at_rest: AtRest,
        retention_days: float = 30,
        max_mb: int = 512,
        window_s: float = TELEMETRY_WINDOW_S,
        checked_at_once: int = CHECKED_AT_ONCE_BYTES,
    ) -> Self:
        """Open the store at `path`, or make it.

        A file that cannot be used is renamed, and an event in the new store tells of it. Raise NeedsAHuman
        when a person must decide, BufferUnavailable when the disk refuses.
        """
        buffer = cls(path, clock, at_rest, retention_days, max_mb, window_s, checked_at_once)
        try:
            await buffer.run(buffer._open_file)
        except BaseException:
            await buffer.close()
            raise
        return buffer

    def __init__(
        self,
        path: Path,
        clock: Clock,
        at_rest: AtRest,
        retention_days: float,
        max_mb: int,
        window_s: float,
        checked_at_once: int,
    ) -> None:
        """For `open` alone."""
        self.at_rest: Final = at_rest
        self.retention_ms: Final = round(retention_days * DAY_MS)
        self._database, self._clock = Database(path, at_rest, checked_at_once), clock
        self._limit_bytes = max(max_mb, MIN_MB) * _MB - _WAL_ALLOWANCE
        self._unchecked_bytes = 0
        self._last_seq = 0
        self._states: dict[str, OutboxState] = {}
        self._grew = asyncio.Event()
        self._writer = Writer(self._commit, self._watch_size, clock=clock, window_s=window_s)
        self._salvaging = Salvaging(self, clock)
        self._rounds, self._looked_s = Rounds(self), clock.monotonic_s()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def last_seq(self) -> int:
        return self._last_seq

    @property
    def path(self) -> Path:
        return self._database.path

    async def append(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> SeqRange:
        if not items and not marks:
            raise ValueError("append needs at least one item or mark")
        return await self._writer.append(chunks_of(items) if items else [], checked(marks or {}))

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self.read(lambda connection: read_marks(connection, prefix, self.at_rest))

    async def outbox(self, name: str) -> SqliteOutbox:
        async def work(connection: aiosqlite.Connection) -> None:
            if name not in self._states:
                await outboxes.add_outbox(connection, name)

        await self.run(lambda: self.changing(work))
        return SqliteOutbox(self, name)

    async def outboxes(self) -> list[str]:
        async def names() -> list[str]:
            return [*self._states]

        return await self.run(lambda: self.guarded(names))

    async def forget(self, name: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            if name in self._states:
                await outboxes.remove_outbox(connection, self._states[name], self.states(without=name))

        await self.run(lambda: self.changing(work))

    async def look_through(self) -> None:
        """Check every block now, which otherwise happens by and by."""
        while await self.run(self._rounds.piece):
            pass

    async def wait_salvaged(self) -> None:
        """Return when nothing of a file that was set aside is still to be brought in."""
        await self._salvaging.wait()

    async def bytes_used(self) -> int:
        """The size of the file without the pages that are free to be used again."""
        return await self.read(bytes_used)

    async def close(self) -> None:
        await self._salvaging.stop()
        await self._writer.close()
        await self._database.close()

    # What follows is for the outboxes.

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` in the writer's task, where nothing else writes."""
        return await self._writer.run(work)

    async def read(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        return await self.run(lambda: self.guarded(lambda: work(self._database.connection)))

    async def grown(self) -> None:
        """Return when something may have been appended."""
        self._grew.clear()
        await self._grew.wait()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def state_of(self, name: str) -> OutboxState | None:
        return self._states.get(name)

    def states(self, *, without: str = "") -> list[OutboxState]:
        return [state for state in self._states.values() if state.name != without]

    # All that follows runs in the writer's task.

    @property
    def connection(self) -> aiosqlite.Connection:
        return self._database.connection

    async def guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let SQLite's errors end here. When the file is damaged, do `work` in what replaces it."""
        for is_last in (False, True):
            if not self._database.is_open:
                await self._open_file()
            try:
                return await work()
            except (sqlite3.Error, UnicodeDecodeError) as err:
                if is_damage(err):
                    await self._database.suspect(err)
                if is_last or self._database.is_open:
                    raise disk_refused(self.path, err) from err
        raise AssertionError("the second time it has returned or raised")

    async def changing(
        self, work: Work, *, unsealed: Mapping[str, int] | None = None, bytes_written: int = 0
    ) -> None:
        """Do `work` in one transaction. `unsealed`: what every outbox has after it, where that is known."""

        async def transaction() -> None:
            known = None
            try:
                async with self._database.transaction() as connection:
                    await work(connection)
                known = unsealed
            finally:
                await self.load(known)

        await self.guarded(transaction)
        self._database.witness.note(self._last_seq)
        self._unchecked_bytes += bytes_written
        self._grew.set()

    async def tell(self, connection: aiosqlite.Connection, kind: str, facts: Mapping[str, object]) -> None:
        """Append an event of the gateway's own, in the transaction of what it tells of."""
        now_ms = self.now_ms()
        event = Event(device_id=GATEWAY, kind=kind, data=dict(facts), measured_ms=now_ms, received_ms=now_ms)
        self._last_seq += 1
        await rows.insert_items(connection, [event], self._last_seq, now_ms, self.at_rest)

    async def load(self, unsealed: Mapping[str, int] | None = None) -> None:
        """Find out anew how far everything is."""
        self._states = await outboxes.load_outboxes(self._database.connection, unsealed)
        self._last_seq = await outboxes.last_seq(self._database.connection)

    async def _open_file(self) -> None:
        """Open the file, or one that takes its place."""
        try:
            await self._open_once()
        except (sqlite3.Error, UnicodeDecodeError) as err:
            await self._database.suspect(err)
            if not is_damage(err):
                raise disk_refused(self.path, err) from err
            await self._open_once()

    async def _open_once(self) -> None:
        opened = await self._database.open(now_ms=self.now_ms())
        await self.load()
        aside = opened.aside or (None if self._last_seq else unfinished_aside(self))
        last_given = self._database.witness.last_seq()
        if aside is not None:
            await self._salvaging.begin(aside, last_given=last_given)
            return
        if opened.is_copy or last_given > self._last_seq:
            reason = "restored-from-copy" if opened.is_copy else "numbers-missing"

            async def work(connection: aiosqlite.Connection) -> None:
                await self._go_on_behind(connection, last_given)
                await self._renumber_all(connection, reason)

            await self.changing(work)
        await self._salvaging.resume()

    async def _go_on_behind(self, connection: aiosqlite.Connection, last_given: int) -> None:
        """Numbers up to `last_given` were given, and what they were given to is gone."""
        if last_given <= self._last_seq:
            return
        lost = Lost("damaged")
        lost.note(self._last_seq + 1, last_given, [])
        for state in self.states():
            await outboxes.claim(connection, state.id, state.claimed.plus(lost.first_seq, lost.last_seq))
            await outboxes.count_up(connection, state.id, dropped=last_given - self._last_seq)
        self._last_seq = last_given
        self._states = await outboxes.load_outboxes(connection)
        await self.tell(connection, "buffer.gap", lost.facts())

    async def _renumber_all(self, connection: aiosqlite.Connection, reason: str) -> None:
        for state in self.states():
            await begin_epoch(self, connection, state, reason)
        await self._database.note_file(connection)

    async def _commit(self, group: Sequence[Append]) -> list[SeqRange]:
        await self.guarded(lambda: self._insert(group))
        ranges: list[SeqRange] = []
        last = self._last_seq
        for append in group:
            ranges.append(SeqRange(last + 1, last + append.count))
            last += append.count
        added = last - self._last_seq
        self._last_seq = last
        self._database.witness.note(last)
        self._states = {
            name: replace(state, unsealed=state.unsealed + added) for name, state in self._states.items()
        }
        self._grew.set()
        return ranges

    async def _insert(self, group: Sequence[Append]) -> None:
        blocks = list(blocks_of(chunk for append in group for chunk in append.chunks))
        parameters = list(rows.rows_of(blocks, self._last_seq + 1, self.now_ms(), self.at_rest))
        marks = {name: value for append in group for name, value in append.marks.items()}
        if (
            len(parameters) == 1 and not marks
        ):  # one statement is a transaction by itself, in one call instead of three
            await self._database.connection.execute_insert(rows.INSERT_BLOCK, parameters[0])
        else:
            async with self._database.transaction() as connection:
                for row in parameters:
                    await connection.execute_insert(rows.INSERT_BLOCK, row)
                await write_marks(connection, marks, self.at_rest)
        self._unchecked_bytes += sum(len(block.data) for block in blocks)

    async def _watch_size(self) -> None:
        if self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            await self.changing(self._make_room)
        if self._clock.monotonic_s() - self._looked_s >= EVERY_S:
            self._looked_s = self._clock.monotonic_s()
            await self._rounds.piece()

    async def _make_room(self, connection: aiosqlite.Connection) -> None:
        losses = await make_room(connection, self.states(), self.at_rest, limit=self._limit_bytes)
        for lost in losses:
            await self.tell(connection, "buffer.gap", lost.facts())
        if await bytes_used(connection) <= self._limit_bytes:
            self._unchecked_bytes = 0
