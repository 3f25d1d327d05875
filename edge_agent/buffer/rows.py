"""The SQL on blocks: putting items in, finding them, changing what they hold.

Every function runs inside one transaction of the writer. What is in a block is encrypted, and can be opened
in no other block's place.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiosqlite

from edge_agent.buffer.blocks import Block, BlockDamaged, blocks_of, chunks_of, items_of
from edge_agent.buffer.database import RowsBroken
from edge_agent.buffer.spans import Spans
from models.at_rest import AtRest, RowDamaged
from models.reading import Item

INSERT_BLOCK: Final = (
    "INSERT INTO block (first_seq, count, readings, holes, stored_ms, thinned, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_FIRST_BEHIND: Final = (
    "SELECT first_seq FROM block INDEXED BY block_span WHERE first_seq + count > ?1 AND first_seq >= "
    "coalesce((SELECT max(first_seq) FROM block WHERE first_seq <= ?1), ?1) ORDER BY first_seq LIMIT 1"
)
_TABLE: Final = "block"


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A row of the table `block`."""

    first_seq: int
    count: int
    holes: int
    stored_ms: int
    thinned: int
    data: bytes

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1

    def items(self, at_rest: AtRest) -> list[Item | None]:
        """Raise BlockDamaged when they are not what was written."""
        try:
            data = at_rest.open(self.data, table=_TABLE, name=self.first_seq)
        except RowDamaged as err:
            raise BlockDamaged(str(err)) from None
        return items_of(data, self.count)


def rows_of(
    blocks: Iterable[Block], first_seq: int, stored_ms: int, at_rest: AtRest, *, thinned: int = 0
) -> Iterator[tuple[Any, ...]]:
    """Parameters of `INSERT_BLOCK` for blocks that follow each other from `first_seq` on."""
    for block in blocks:
        data = at_rest.seal(block.data, table=_TABLE, name=first_seq)
        yield (first_seq, block.count, block.readings, block.holes, stored_ms, thinned, data)
        first_seq += block.count


async def insert_items(
    connection: aiosqlite.Connection,
    items: Sequence[Item | None],
    first_seq: int,
    stored_ms: int,
    at_rest: AtRest,
    *,
    thinned: int = 0,
) -> None:
    """Store `items` with the numbers from `first_seq` on; none is fine. Only holes are not stored."""
    if any(item is not None for item in items):
        blocks = blocks_of(chunks_of(items))
        for row in rows_of(blocks, first_seq, stored_ms, at_rest, thinned=thinned):
            await connection.execute_insert(INSERT_BLOCK, row)


async def find_blocks(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[int]
) -> list[StoredBlock]:
    """Blocks by a condition of ours, which also says their order."""
    sql = f"SELECT first_seq, count, holes, stored_ms, thinned, data FROM block WHERE {where}"  # noqa: S608  # our text
    rows = [tuple(row) for row in await connection.execute_fetchall(sql, parameters)]
    for *numbers, data in rows:
        if type(data) is not bytes or any(type(number) is not int for number in numbers) or numbers[1] < 1:
            raise RowsBroken("a block has columns of other types")
    return [StoredBlock(*row) for row in rows]


async def free_blocks(
    connection: aiosqlite.Connection, taken: Spans, *, after: int, limit: int
) -> list[StoredBlock]:
    """Blocks that follow each other, for `limit` items: the first behind `after` that are not in `taken`.

    `after` itself may be in the first of them.
    """
    seq = after + 1
    while True:
        seq = taken.next_free(seq)
        found = await connection.execute_fetchall(_FIRST_BEHIND, (seq,))
        if not (row := list(found)):
            return []
        [(first_seq,)] = row
        seq = max(seq, first_seq)
        if taken.at(seq) is None:
            break
    end = min(seq + limit, taken.next_after(seq) or seq + limit)
    where = "first_seq >= ? AND first_seq < ? ORDER BY first_seq"
    blocks = await find_blocks(connection, where, (first_seq, end))
    if not blocks or blocks[0].first_seq != first_seq:
        raise RowsBroken(f"the block {first_seq}, which its index names, is not there")
    follow: list[StoredBlock] = []
    for block in blocks:
        if follow and block.first_seq != follow[-1].last_seq + 1:
            break
        follow.append(block)
    return follow


async def block_with(connection: aiosqlite.Connection, seq: int) -> StoredBlock | None:
    """The block that holds the number `seq`."""
    found = await find_blocks(connection, "first_seq <= ? ORDER BY first_seq DESC LIMIT 1", (seq,))
    return found[0] if found and found[0].last_seq >= seq else None


async def split_block_after(connection: aiosqlite.Connection, seq: int, at_rest: AtRest) -> None:
    """Let the block that holds the number `seq` end with it."""
    block = await block_with(connection, seq)
    if block is None or block.last_seq == seq:
        return
    items = block.items(at_rest)
    size = seq - block.first_seq + 1
    await delete_block(connection, block)
    for part, first_seq in ((items[:size], block.first_seq), (items[size:], seq + 1)):
        await insert_items(connection, part, first_seq, block.stored_ms, at_rest, thinned=block.thinned)


async def rewrite_block(
    connection: aiosqlite.Connection,
    block: StoredBlock,
    items: Sequence[Item | None],
    at_rest: AtRest,
    *,
    thinned: int,
) -> None:
    """Let the block hold `items` instead, as many as before; it goes when only holes are left."""
    await delete_block(connection, block)
    await insert_items(connection, items, block.first_seq, block.stored_ms, at_rest, thinned=thinned)


async def delete_block(connection: aiosqlite.Connection, block: StoredBlock) -> None:
    await connection.execute_insert("DELETE FROM block WHERE first_seq = ?", (block.first_seq,))


async def delete_between(connection: aiosqlite.Connection, numbers: Spans) -> None:
    """Delete the blocks that begin in these ranges, which end where blocks end."""
    for first, last in numbers:
        await connection.execute_insert("DELETE FROM block WHERE first_seq BETWEEN ? AND ?", (first, last))
