"""Drops blocks, and records what was lost with them: in a row, and for the event that tells of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import aiosqlite

from edge_agent.buffer.blocks import BlockDamaged
from edge_agent.buffer.database import scalar
from edge_agent.buffer.rows import StoredBlock, delete_block, insert_items
from models.reading import Event, Item, Reading


@dataclass(slots=True)
class Lost:
    """What one pass took away. The items of a damaged block are in no count, only in the numbers."""

    reason: str  # "buffer-full", "damaged"
    first_seq: int = 0  # 0: nothing was lost
    last_seq: int = 0
    readings: int = 0
    events: int = 0
    from_ms: int | None = None
    to_ms: int | None = None

    def note(self, first_seq: int, count: int, items: list[Item]) -> None:
        self.first_seq = self.first_seq or first_seq
        self.last_seq = first_seq + count - 1
        readings = sum(1 for item in items if item.__class__ is Reading)
        self.readings += readings
        self.events += len(items) - readings
        times = [item.measured_ms for item in items]
        if times:
            self.from_ms = min(times) if self.from_ms is None else min(self.from_ms, *times)
            self.to_ms = max(times) if self.to_ms is None else max(self.to_ms, *times)

    def facts(self) -> dict[str, object]:
        """The data of the event `buffer.gap`."""
        return {name: getattr(self, name) for name in self.__slots__}


async def drop_block(
    connection: aiosqlite.Connection, block: StoredBlock, lost: Lost, *, keep_events: bool, now_ms: int
) -> None:
    """Drop a block's readings, or all of it. The bytes of a damaged one are kept beside its gap."""
    await delete_block(connection, block)
    try:
        items = block.items()
    except BlockDamaged:
        lost.note(block.first_seq, block.count, [])
        await _insert_gap(connection, block.first_seq, block.count, now_ms, "damaged", block.data)
        return
    seq = block.first_seq
    for kept, run in _runs(items, keep_events=keep_events):
        if kept:
            await insert_items(connection, run, seq, block.stored_ms)
        else:
            lost.note(seq, len(run), run)
            if not await _lengthen_gap(connection, seq, len(run), now_ms, lost.reason):
                await _insert_gap(connection, seq, len(run), now_ms, lost.reason, None)
        seq += len(run)


def _runs(items: list[Item], *, keep_events: bool) -> Iterator[tuple[bool, list[Item]]]:
    """The items in order, in runs to be kept and runs to be dropped."""
    run: list[Item] = []
    kept = False
    for item in items:
        keep = keep_events and item.__class__ is Event
        if run and keep != kept:
            yield kept, run
            run = []
        kept = keep
        run.append(item)
    yield kept, run


async def _lengthen_gap(
    connection: aiosqlite.Connection, first_seq: int, count: int, now_ms: int, reason: str
) -> bool:
    """Let the gap that ends right before `first_seq` go on, if there is one of the same reason."""
    before = await scalar(
        connection,
        "SELECT coalesce(max(first_seq), 0) FROM gap "
        "WHERE first_seq = (SELECT max(first_seq) FROM gap WHERE first_seq < ?) "
        "AND first_seq + count = ? AND reason = ? AND data IS NULL",
        (first_seq, first_seq, reason),
    )
    if before:
        await connection.execute_insert(
            "UPDATE gap SET count = count + ?, dropped_ms = ? WHERE first_seq = ?", (count, now_ms, before)
        )
    return before > 0


async def _insert_gap(
    connection: aiosqlite.Connection, first_seq: int, count: int, now_ms: int, reason: str, data: bytes | None
) -> None:
    await connection.execute_insert(
        "INSERT INTO gap (first_seq, count, dropped_ms, reason, data) VALUES (?, ?, ?, ?, ?)",
        (first_seq, count, now_ms, reason, data),
    )
