"""The SQL on blocks: putting items in, finding them, taking some out again.

Every function runs inside one transaction of the writer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiosqlite

from edge_agent.buffer.blocks import Block, blocks_of, chunks_of, encode_item, items_of
from models.reading import Item

INSERT_BLOCK: Final = (
    "INSERT INTO block (first_seq, count, readings, stored_ms, crc, data) VALUES (?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A row of the table `block`."""

    first_seq: int
    count: int
    stored_ms: int
    crc: int
    data: bytes

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1

    def items(self) -> list[Item]:
        """Raise BlockDamaged when they are not what was written."""
        return items_of(self.data, self.crc, self.count)


def rows_of(blocks: Iterable[Block], first_seq: int, stored_ms: int) -> Iterator[tuple[Any, ...]]:
    """Parameters of `INSERT_BLOCK` for blocks that follow each other from `first_seq` on."""
    for block in blocks:
        yield (first_seq, block.count, block.readings, stored_ms, block.crc, block.data)
        first_seq += block.count


async def insert_items(
    connection: aiosqlite.Connection, items: Sequence[Item], first_seq: int, stored_ms: int
) -> None:
    """Store `items` with the numbers from `first_seq` on; none is fine."""
    if items:
        for row in rows_of(blocks_of(chunks_of(items)), first_seq, stored_ms):
            await connection.execute_insert(INSERT_BLOCK, row)


async def find_blocks(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[int]
) -> list[StoredBlock]:
    """Blocks by a condition of ours, which also says their order."""
    sql = f"SELECT first_seq, count, stored_ms, crc, data FROM block WHERE {where}"  # noqa: S608  # our text
    return [StoredBlock(*row) for row in await connection.execute_fetchall(sql, parameters)]


async def block_with(connection: aiosqlite.Connection, seq: int) -> StoredBlock | None:
    """The block that holds the item `seq`."""
    found = await find_blocks(connection, "first_seq <= ? ORDER BY first_seq DESC LIMIT 1", (seq,))
    return found[0] if found and found[0].last_seq >= seq else None


async def split_block_after(connection: aiosqlite.Connection, seq: int) -> None:
    """Let the block that holds the item `seq` end with it."""
    block = await block_with(connection, seq)
    if block is None or block.last_seq == seq:
        return
    items = block.items()
    size = seq - block.first_seq + 1
    await delete_block(connection, block)
    await insert_items(connection, items[:size], block.first_seq, block.stored_ms)
    await insert_items(connection, items[size:], seq + 1, block.stored_ms)


async def take_out(
    connection: aiosqlite.Connection, seq: int, *, epoch: bytes, reason: str, now_ms: int
) -> Item | None:
    """Move one item from its block to the table of refused items; None when no block holds it."""
    block = await block_with(connection, seq)
    if block is None:
        return None
    items = block.items()
    at = seq - block.first_seq
    await delete_block(connection, block)
    await insert_items(connection, items[:at], block.first_seq, block.stored_ms)
    await insert_items(connection, items[at + 1 :], seq + 1, block.stored_ms)
    await connection.execute_insert(
        "INSERT INTO refused (epoch, seq, refused_ms, reason, item) VALUES (?, ?, ?, ?, ?)",
        (epoch, seq, now_ms, reason, encode_item(items[at])),
    )
    return items[at]


async def delete_block(connection: aiosqlite.Connection, block: StoredBlock) -> None:
    await connection.execute_insert("DELETE FROM block WHERE first_seq = ?", (block.first_seq,))
