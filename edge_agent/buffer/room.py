"""Keeps the file inside its bounds of age and size: what the collector has goes first, events go last."""

from typing import Final

import aiosqlite

from edge_agent.buffer.database import scalar
from edge_agent.buffer.losses import Lost, drop_block
from edge_agent.buffer.rows import StoredBlock, find_blocks

ROWS_A_PASS: Final = 32
PASSES: Final = 8
"""So that appends wait for 50 ms at most; what is left is done after the next append."""

_BYTES_USED = (
    "SELECT (pages.page_count - free.freelist_count) * size.page_size "
    "FROM pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size"
)


async def bytes_used(connection: aiosqlite.Connection) -> int:
    """The size of the file without the pages that are free to be used again."""
    return await scalar(connection, _BYTES_USED)


async def forget_delivered(connection: aiosqlite.Connection, *, before_ms: int | None = None) -> int:
    """Delete the oldest delivered batches, or those delivered before `before_ms`; how many went.

    The newest delivered batch always stays: numbers and the chain of digests go on from it.
    """
    rows = await connection.execute_fetchall(
        "SELECT number, state, delivered_ms FROM batch "
        "WHERE number < (SELECT max(number) FROM batch WHERE state = 'delivered') ORDER BY number LIMIT ?",
        (ROWS_A_PASS,),
    )
    old = [
        number
        for number, state, delivered_ms in rows
        if state == "delivered" and (before_ms is None or delivered_ms < before_ms)
    ]
    for number in old:
        await connection.execute_insert("DELETE FROM batch WHERE number = ?", (number,))
    if old:
        await connection.execute_insert(
            "DELETE FROM content_key WHERE key_id NOT IN (SELECT key_id FROM batch) "
            "AND rowid < (SELECT max(rowid) FROM content_key)"
        )
    return len(old)


async def make_room(
    connection: aiosqlite.Connection, *, limit: int, sealed_to: int, now_ms: int
) -> Lost | None:
    """Drop the oldest while the file uses more than `limit` bytes, for a few passes; what was lost.

    First delivered batches, then readings that are in no batch, last of all events.
    """
    lost = Lost("buffer-full")
    for _ in range(PASSES):
        if await bytes_used(connection) <= limit:
            break
        if await forget_delivered(connection):
            continue
        blocks = await _oldest(connection, sealed_to, "readings > 0")
        keep_events = bool(blocks)
        for block in blocks or await _oldest(connection, sealed_to, "count > 0"):
            await drop_block(connection, block, lost, keep_events=keep_events, now_ms=now_ms)
    return lost if lost.first_seq else None


async def _oldest(connection: aiosqlite.Connection, sealed_to: int, condition: str) -> list[StoredBlock]:
    return await find_blocks(
        connection, f"first_seq > ? AND {condition} ORDER BY first_seq LIMIT ?", (sealed_to, ROWS_A_PASS)
    )
