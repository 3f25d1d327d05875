"""Gives items up, and says what was lost: in the counters, and for the event that tells of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiosqlite

from edge_agent.buffer.outboxes import OutboxState, note_lost
from edge_agent.buffer.rows import StoredBlock, delete_block, rewrite_block
from edge_agent.buffer.spans import Spans
from models.at_rest import AtRest
from models.reading import Item, Reading

MOST_DAMAGED_KEPT: Final = 16  # blocks, for somebody who wants to know what has happened to the disk


@dataclass(slots=True)
class Lost:
    """What one pass took away. The items of a damaged block are in no count, only in the numbers."""

    reason: str  # "thinned", "buffer-full", "damaged", "refused"
    first_seq: int = 0  # 0: nothing was lost
    last_seq: int = 0
    readings: int = 0
    events: int = 0
    from_ms: int | None = None
    to_ms: int | None = None

    def note(self, first_seq: int, last_seq: int, items: Sequence[Item]) -> None:
        """`items` are lost, all of them with numbers between these two."""
        self.first_seq = min(self.first_seq or first_seq, first_seq)
        self.last_seq = max(self.last_seq, last_seq)
        readings = sum(1 for item in items if item.__class__ is Reading)
        self.readings += readings
        self.events += len(items) - readings
        times = [item.measured_ms for item in items]
        if times:
            self.from_ms = min(times) if self.from_ms is None else min(self.from_ms, *times)
            self.to_ms = max(times) if self.to_ms is None else max(self.to_ms, *times)

    def note_numbers(self, numbers: Spans) -> None:
        """Their items are lost, and nobody can say any more what they were."""
        for first, last in numbers:
            self.note(first, last, [])

    def facts(self) -> dict[str, object]:
        """The data of the event `buffer.gap`."""
        return {name: getattr(self, name) for name in self.__slots__}


async def give_up(
    connection: aiosqlite.Connection,
    block: StoredBlock,
    is_given_up: Callable[[Item], bool],
    states: Sequence[OutboxState],
    at_rest: AtRest,
    lost: Lost,
    *,
    thinned: int,
) -> None:
    """Make holes of some items of a block. Raise BlockDamaged."""
    items = block.items(at_rest)
    gone = {i: item for i, item in enumerate(items) if item is not None and is_given_up(item)}
    if gone:
        lost.note(block.first_seq + min(gone), block.first_seq + max(gone), list(gone.values()))
        await note_lost(connection, states, block.first_seq, [block.first_seq + i for i in gone])
    kept = [None if i in gone else item for i, item in enumerate(items)]
    await rewrite_block(connection, block, kept, at_rest, thinned=thinned)


async def drop_damaged(
    connection: aiosqlite.Connection, block: StoredBlock, states: Sequence[OutboxState], lost: Lost
) -> None:
    """Give up a block that cannot be read. Its bytes are kept for somebody to look at."""
    await delete_block(connection, block)
    lost.note(block.first_seq, block.last_seq, [])
    # Which of its numbers are holes is in the bytes that cannot be read; how many is not.
    numbers = range(block.first_seq, block.last_seq + 1 - block.holes)
    await note_lost(connection, states, block.first_seq, numbers)
    await connection.execute_insert(
        "INSERT OR REPLACE INTO damaged (first_seq, count, data) VALUES (?, ?, ?)",
        (block.first_seq, block.count, block.data),
    )
    await connection.execute_insert(
        "DELETE FROM damaged WHERE first_seq NOT IN "
        "(SELECT first_seq FROM damaged ORDER BY first_seq DESC LIMIT ?)",
        (MOST_DAMAGED_KEPT,),
    )
