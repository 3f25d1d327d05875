"""The buffer in one SQLite file: blocks of what was appended, and the sealed batches made from them."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import aiosqlite

from edge_agent.buffer import batches, rows
from edge_agent.buffer.blocks import BlockDamaged, blocks_of, chunks_of
from edge_agent.buffer.contract import Batch, Counts, Cut, SeqRange
from edge_agent.buffer.database import Database, disk_refused, is_damage
from edge_agent.buffer.losses import Lost, drop_block
from edge_agent.buffer.marks import checked, read_marks, salvaged_marks, write_marks
from edge_agent.buffer.room import bytes_used, forget_delivered, make_room
from edge_agent.buffer.writer import TELEMETRY_WINDOW_S, Append, Writer
from models.envelope import FIRST_PREVIOUS
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
        retention_days: float = 30,
        max_mb: int = 512,
        window_s: float = TELEMETRY_WINDOW_S,
    ) -> Self:
        """Open the store at `path`, or make it.

        A file that cannot be used is renamed, and an event in the new store tells of it. Raise NeedsAHuman
        when a person must decide, BufferUnavailable when the disk refuses.
        """
        buffer = cls(path, clock, retention_days, max_mb, window_s)
        try:
            await buffer._writer.run(buffer._open_file)
        except BaseException:
            await buffer.close()
            raise
        return buffer

    def __init__(self, path: Path, clock: Clock, retention_days: float, max_mb: int, window_s: float) -> None:
        """For `open` alone."""
        self._database, self._clock = Database(path), clock
        self._retention_ms = round(retention_days * DAY_MS)
        self._limit_bytes = max(max_mb, MIN_MB) * _MB - _WAL_ALLOWANCE
        self._unchecked_bytes = 0
        self._at = batches.Position(b"", 0, 0, FIRST_PREVIOUS, 0, 0)
        self._grew = asyncio.Event()
        self._writer = Writer(self._commit, self._watch_size, clock=clock, window_s=window_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def epoch(self) -> bytes:
        return self._at.epoch

    @property
    def last_seq(self) -> int:
        return self._at.last_seq

    @property
    def path(self) -> Path:
        return self._database.path

    async def append(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> SeqRange:
        if not items and not marks:
            raise ValueError("append needs at least one item or mark")
        return await self._writer.append(chunks_of(items) if items else [], checked(marks or {}))

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self._read(lambda connection: read_marks(connection, prefix))

    async def cut(self, limit: int) -> Cut | None:
        return await self._writer.run(lambda: self._cut(limit))

    async def store(self, batch: Batch) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await batches.store_batch(connection, batch, at=self._at, now_ms=self._clock.now_ms())

        await self._change(work, sealed=batch.count)
        self._unchecked_bytes += len(batch.body)

    async def pending(self) -> Batch | None:
        found = await self._find_batches("state = 'pending' ORDER BY number LIMIT 1", ())
        return found[0] if found else None

    async def deliver(self, number: int, *, quarantined: int, receipt: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            now_ms = self._clock.now_ms()
            await batches.deliver_batch(
                connection, number, quarantined=quarantined, receipt=receipt, now_ms=now_ms
            )
            oldest_ms = now_ms - self._retention_ms
            await forget_delivered(connection, before_ms=oldest_ms)
            await connection.execute_insert("DELETE FROM refused WHERE refused_ms < ?", (oldest_ms,))

        await self._change(work, sealed=0)

    async def withdraw(self, number: int) -> None:
        await self._change(lambda connection: batches.withdraw_batch(connection, number, at=self._at))

    async def refuse(self, seq: int, reason: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            if seq <= self._at.sealed_to:
                return
            item = await rows.take_out(
                connection, seq, epoch=self._at.epoch, reason=reason, now_ms=self._clock.now_ms()
            )
            if item is not None:
                await batches.count_up(connection, "quarantined", 1)
                lost = Lost("refused")
                lost.note(seq, 1, [item])
                facts = {**lost.facts(), "device_id": item.device_id, "detail": reason}
                await self._tell(connection, "buffer.gap", facts)

        await self._change(work)

    async def kept(self, first_seq: int, last_seq: int, *, limit: int) -> list[Batch]:
        return await self._find_batches(
            "state = 'delivered' AND first_seq + count > ? AND first_seq BETWEEN "
            "coalesce((SELECT max(first_seq) FROM batch WHERE first_seq <= ?), 0) AND ? "
            "ORDER BY number LIMIT ?",
            (first_seq, first_seq, last_seq, limit),
        )

    async def add_key(self, key_id: bytes, package: bytes) -> None:
        sql = "INSERT INTO content_key (key_id, sent, package) VALUES (?, 0, ?)"
        await self._execute(sql, key_id, package)

    async def key_package(self, key_id: bytes) -> tuple[bytes, bool]:
        async def work(connection: aiosqlite.Connection) -> tuple[bytes, bool]:
            sql = "SELECT package, sent FROM content_key WHERE key_id = ?"
            for package, sent in await connection.execute_fetchall(sql, (key_id,)):
                return package, bool(sent)
            raise KeyError(key_id.hex())

        return await self._read(work)

    async def key_sent(self, key_id: bytes, *, sent: bool = True) -> None:
        await self._execute("UPDATE content_key SET sent = ? WHERE key_id = ?", int(sent), key_id)

    async def belong_to(self, gateway_id: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            before = await batches.owner(connection)
            if before == gateway_id:
                return
            await connection.execute_insert(
                "UPDATE meta SET value = ? WHERE name = 'gateway_id'", (gateway_id,)
            )
            if before:
                await self._renumber(connection, "enrolled-again")
                await connection.execute_insert("DELETE FROM content_key")

        await self._change(work)

    async def begin_epoch(self) -> None:
        await self._change(lambda connection: self._renumber(connection, "numbers-taken"))

    async def wait_unsealed(self, count: int) -> None:
        while self._at.unsealed < count:
            self._grew.clear()
            await self._grew.wait()

    async def counts(self) -> Counts:
        return await self._read(batches.counts)

    async def close(self) -> None:
        await self._writer.close()
        await self._database.close()

    # All that follows runs in the writer's task, but for the three helpers that hand work to it.

    async def _change(self, work: Work, *, sealed: int | None = None) -> None:
        await self._writer.run(lambda: self._changing(work, sealed=sealed))

    async def _execute(self, sql: str, *parameters: object) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute_insert(sql, parameters)

        await self._change(work, sealed=0)

    async def _read(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        return await self._writer.run(lambda: self._guarded(lambda: work(self._database.connection)))

    async def _find_batches(self, where: str, parameters: Sequence[int]) -> list[Batch]:
        return await self._read(lambda connection: batches.find_batches(connection, where, parameters))

    async def _open_file(self) -> None:
        aside = await self._database.open(now_ms=self._clock.now_ms())
        self._at = await batches.position(self._database.connection)
        if aside is not None:
            marks = await asyncio.to_thread(salvaged_marks, aside.path)
            facts = {"file": aside.path.name, "reason": aside.reason, "marks_kept": len(marks)}

            async def work(connection: aiosqlite.Connection) -> None:
                await write_marks(connection, marks)
                await self._tell(connection, "buffer.set-aside", facts)

            await self._changing(work)

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let SQLite's errors end here; a file that became unreadable is replaced by the next call."""
        if not self._database.is_open:
            await self._open_file()
        try:
            return await work()
        except (sqlite3.Error, UnicodeDecodeError) as err:
            if is_damage(err):
                await self._database.close()
            raise disk_refused(self.path, err) from err

    async def _changing(self, work: Work, *, sealed: int | None = None) -> None:
        """Do `work` in one transaction. `sealed` is how many items it puts in a batch, if nothing else."""

        async def transaction() -> None:
            unsealed = None
            try:
                async with self._database.transaction() as connection:
                    await work(connection)
                unsealed = None if sealed is None else self._at.unsealed - sealed
            finally:
                self._at = await batches.position(self._database.connection, unsealed=unsealed)

        await self._guarded(transaction)
        self._grew.set()

    async def _commit(self, group: Sequence[Append]) -> list[SeqRange]:
        await self._guarded(lambda: self._insert(group))
        ranges: list[SeqRange] = []
        last = self._at.last_seq
        for append in group:
            ranges.append(SeqRange(last + 1, last + append.count))
            last += append.count
        unsealed = self._at.unsealed + last - self._at.last_seq
        self._at = replace(self._at, last_seq=last, unsealed=unsealed)
        self._grew.set()
        return ranges

    async def _insert(self, group: Sequence[Append]) -> None:
        blocks = list(blocks_of(chunk for append in group for chunk in append.chunks))
        parameters = list(rows.rows_of(blocks, self._at.last_seq + 1, self._clock.now_ms()))
        marks = {name: value for append in group for name, value in append.marks.items()}
        if (
            len(parameters) == 1 and not marks
        ):  # one statement is a transaction by itself, in one call instead of three
            await self._database.connection.execute_insert(rows.INSERT_BLOCK, parameters[0])
        else:
            async with self._database.transaction() as connection:
                for row in parameters:
                    await connection.execute_insert(rows.INSERT_BLOCK, row)
                await write_marks(connection, marks)
        self._unchecked_bytes += sum(len(block.data) for block in blocks)

    async def _watch_size(self) -> None:
        if self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            await self._changing(self._make_room)

    async def _make_room(self, connection: aiosqlite.Connection) -> None:
        now_ms = self._clock.now_ms()
        sealed_to = self._at.sealed_to
        lost = await make_room(connection, limit=self._limit_bytes, sealed_to=sealed_to, now_ms=now_ms)
        if lost is not None:
            await self._tell(connection, "buffer.gap", lost.facts())
        if await bytes_used(connection) <= self._limit_bytes:
            self._unchecked_bytes = 0

    async def _cut(self, limit: int) -> Cut | None:
        while True:
            blocks = await self._guarded(lambda: self._unsealed_blocks(limit))
            items: list[Item] = []
            for block in blocks:
                follows = block.first_seq == blocks[0].first_seq + len(items)
                if not follows or (items and len(items) + block.count > limit):
                    break
                try:
                    items += block.items()
                except BlockDamaged:
                    break
            if items:
                return Cut(self._at.number + 1, blocks[0].first_seq, self._at.digest, items[:limit])
            if not blocks:
                return None
            await self._drop_damaged(blocks[0])

    async def _unsealed_blocks(self, limit: int) -> list[rows.StoredBlock]:
        """Those that can hold the first `limit` unsealed items."""
        after = self._at.sealed_to
        return await rows.find_blocks(
            self._database.connection,
            "first_seq > ? AND first_seq < (SELECT min(first_seq) FROM block WHERE first_seq > ?) + ? "
            "ORDER BY first_seq",
            (after, after, limit),
        )

    async def _drop_damaged(self, block: rows.StoredBlock) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            lost = Lost("damaged")
            await drop_block(connection, block, lost, keep_events=False, now_ms=self._clock.now_ms())
            await self._tell(connection, "buffer.gap", lost.facts())

        await self._changing(work)

    async def _renumber(self, connection: aiosqlite.Connection, reason: str) -> None:
        before = self._at.epoch.hex()
        await batches.begin_epoch(connection)
        self._at = await batches.position(connection)
        await self._tell(connection, "buffer.epoch-began", {"reason": reason, "epoch_before": before})

    async def _tell(self, connection: aiosqlite.Connection, kind: str, facts: Mapping[str, object]) -> None:
        """Append an event of the gateway's own, in the transaction of what it tells of."""
        now_ms = self._clock.now_ms()
        event = Event(device_id=GATEWAY, kind=kind, data=dict(facts), measured_ms=now_ms, received_ms=now_ms)
        await rows.insert_items(connection, [event], self._at.last_seq + 1, now_ms)
