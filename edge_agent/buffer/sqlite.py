"""The buffer in one SQLite file: blocks of what was appended, and batches made of them for each collector."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiosqlite

from edge_agent.buffer import outboxes, rows
from edge_agent.buffer.blocks import blocks_of, chunks_of
from edge_agent.buffer.contract import SeqRange
from edge_agent.buffer.core import Core
from edge_agent.buffer.database import CHECKED_AT_ONCE_BYTES, Database, bytes_used, disk_refused, is_damage
from edge_agent.buffer.losses import Lost
from edge_agent.buffer.marks import checked, read_marks, write_marks
from edge_agent.buffer.outbox import SqliteOutbox, begin_epoch
from edge_agent.buffer.room import make_room
from edge_agent.buffer.rounds import EVERY_S, Rounds
from edge_agent.buffer.salvaging import Salvaging, unfinished_aside
from edge_agent.buffer.writer import TELEMETRY_WINDOW_S, Append
from models.at_rest import AtRest
from models.reading import Item
from models.times import DAY_MS, Clock

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
            await buffer.core.run(buffer._open_file)
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
        self._retention_ms = round(retention_days * DAY_MS)
        self._limit_bytes = max(max_mb, MIN_MB) * _MB - _WAL_ALLOWANCE
        self.core: Final = Core(
            Database(path, at_rest, checked_at_once),
            at_rest,
            clock,
            window_s=window_s,
            insert=self._insert,
            tidy=self._tidy,
            open_file=self._open_file,
        )
        self._salvaging = Salvaging(self.core)
        self._rounds, self._looked_s = Rounds(self.core), clock.monotonic_s()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def last_seq(self) -> int:
        return self.core.last_seq

    @property
    def path(self) -> Path:
        return self.core.path

    async def append(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> SeqRange:
        if not items and not marks:
            raise ValueError("append needs at least one item or mark")
        return await self.core.writer.append(chunks_of(items) if items else [], checked(marks or {}))

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self.core.read(lambda connection: read_marks(connection, prefix, self.core.at_rest))

    async def outbox(self, name: str) -> SqliteOutbox:
        async def work(connection: aiosqlite.Connection) -> None:
            if self.core.state_of(name) is None:
                await outboxes.add_outbox(connection, name)

        await self.core.run(lambda: self.core.changing(work))
        return SqliteOutbox(self.core, name, retention_ms=self._retention_ms)

    async def outboxes(self) -> list[str]:
        async def names() -> list[str]:
            return [state.name for state in self.core.states()]

        return await self.core.run(lambda: self.core.guarded(names))

    async def forget(self, name: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            state = self.core.state_of(name)
            if state is not None:
                await outboxes.remove_outbox(connection, state, self.core.states(without=name))

        await self.core.run(lambda: self.core.changing(work))

    async def look_through(self) -> None:
        """Check every block now, which otherwise happens by and by."""
        while await self.core.run(self._rounds.piece):
            pass

    async def wait_salvaged(self) -> None:
        """Return when nothing of a file that was set aside is still to be brought in."""
        await self._salvaging.wait()

    async def bytes_used(self) -> int:
        """The size of the file without the pages that are free to be used again."""
        return await self.core.read(bytes_used)

    async def close(self) -> None:
        await self._salvaging.stop()
        await self.core.writer.close()
        await self.core.database.close()

    # All that follows runs in the writer's task.

    async def _open_file(self) -> None:
        """Open the file, or one that takes its place."""
        try:
            await self._open_once()
        except (sqlite3.Error, UnicodeDecodeError) as err:
            await self.core.database.suspect(err)
            if not is_damage(err):
                raise disk_refused(self.path, err) from err
            await self._open_once()

    async def _open_once(self) -> None:
        opened = await self.core.database.open(now_ms=self.core.now_ms())
        await self.core.load()
        aside = opened.aside or (None if self.core.last_seq else unfinished_aside(self.path))
        last_given = self.core.database.witness.last_seq()
        if aside is not None:
            await self._salvaging.begin(aside, last_given=last_given)
            return
        if opened.is_copy or last_given > self.core.last_seq:
            reason = "restored-from-copy" if opened.is_copy else "numbers-missing"

            async def work(connection: aiosqlite.Connection) -> None:
                await self._go_on_behind(connection, last_given)
                await self._renumber_all(connection, reason)

            await self.core.changing(work)
        await self._salvaging.resume()

    async def _go_on_behind(self, connection: aiosqlite.Connection, last_given: int) -> None:
        """Numbers up to `last_given` were given, and what they were given to is gone."""
        if last_given <= self.core.last_seq:
            return
        lost = Lost("damaged")
        lost.note(self.core.last_seq + 1, last_given, [])
        for state in self.core.states():
            await outboxes.claim(connection, state.id, state.claimed.plus(lost.first_seq, lost.last_seq))
            await outboxes.count_up(connection, state.id, dropped=last_given - self.core.last_seq)
        self.core.last_seq = last_given
        await self.core.reload_states()
        await self.core.tell(connection, "buffer.gap", lost.facts())

    async def _renumber_all(self, connection: aiosqlite.Connection, reason: str) -> None:
        for state in self.core.states():
            await begin_epoch(self.core, connection, state, reason)
        await self.core.database.note_file(connection)

    async def _insert(self, group: Sequence[Append]) -> None:
        blocks = list(blocks_of(chunk for append in group for chunk in append.chunks))
        parameters = list(rows.rows_of(blocks, self.core.last_seq + 1, self.core.now_ms(), self.core.at_rest))
        marks = {name: value for append in group for name, value in append.marks.items()}
        if (
            len(parameters) == 1 and not marks
        ):  # one statement is a transaction by itself, in one call instead of three
            await self.core.connection.execute_insert(rows.INSERT_BLOCK, parameters[0])
        else:
            async with self.core.database.transaction() as connection:
                for row in parameters:
                    await connection.execute_insert(rows.INSERT_BLOCK, row)
                await write_marks(connection, marks, self.core.at_rest)
        self.core.unchecked_bytes += sum(len(block.data) for block in blocks)

    async def _tidy(self) -> None:
        if self.core.unchecked_bytes >= _CHECK_EVERY_BYTES:
            await self.core.changing(self._make_room)
        if self.core.clock.monotonic_s() - self._looked_s >= EVERY_S:
            self._looked_s = self.core.clock.monotonic_s()
            await self._rounds.piece()

    async def _make_room(self, connection: aiosqlite.Connection) -> None:
        losses = await make_room(connection, self.core.states(), self.core.at_rest, limit=self._limit_bytes)
        for lost in losses:
            await self.core.tell(connection, "buffer.gap", lost.facts())
        if await bytes_used(connection) <= self._limit_bytes:
            self.core.unchecked_bytes = 0
