"""Keeps the file inside its bounds of age and size: what the collectors have goes first, events go last."""

from collections.abc import Callable, Sequence
from typing import Final

import aiosqlite

from edge_agent.buffer.blocks import BlockDamaged
from edge_agent.buffer.database import bytes_used
from edge_agent.buffer.losses import Lost, drop_damaged, give_up
from edge_agent.buffer.outboxes import OutboxState, load_outboxes, withdraw_batch
from edge_agent.buffer.rows import StoredBlock, find_blocks
from edge_agent.buffer.spans import Spans
from edge_agent.buffer.thinning import LEVELS, Thinning
from models.at_rest import AtRest
from models.reading import Item, Reading

ROWS_A_PASS: Final = 32
UNDER_WAY: Final = 8  # batches for one collector that are never given up
PASSES: Final = 8
"""So that appends wait for 50 ms at most; what is left is done after the next append."""


async def forget_delivered(connection: aiosqlite.Connection, *, before_ms: int | None = None) -> int:
    """Delete the batches that were delivered first, or those delivered before `before_ms`; how many went.

    The newest of each collector always stays: numbers and the chain of digests go on from it, also when those
    under way are withdrawn.
    """
    rows = await connection.execute_fetchall(
        "SELECT collector, number FROM batch AS old WHERE state <> 'pending' AND delivered_ms < ? "
        "AND number < (SELECT max(number) FROM batch WHERE collector = old.collector AND state <> 'pending') "
        "ORDER BY delivered_ms LIMIT ?",
        (1 << 62 if before_ms is None else before_ms, ROWS_A_PASS),
    )
    old = list(rows)
    for key in old:
        await connection.execute_insert("DELETE FROM batch WHERE collector = ? AND number = ?", key)
    if old:
        await connection.execute_insert(
            "DELETE FROM content_key WHERE NOT EXISTS (SELECT 1 FROM batch "
            "WHERE batch.collector = content_key.collector AND batch.key_id = content_key.key_id) "
            "AND rowid < (SELECT max(rowid) FROM content_key AS newer "
            "WHERE newer.collector = content_key.collector)"
        )
    return len(old)


async def make_room(
    connection: aiosqlite.Connection,
    states: Sequence[OutboxState],
    at_rest: AtRest,
    *,
    limit: int,
) -> list[Lost]:
    """Give up the oldest while the file uses more than `limit` bytes, for a few passes; what was lost.

    First delivered batches; then those that wait for receipts from a stick, which loses nothing, for their
    items are in no batch again; then readings that others stand for, then the oldest readings, last of all
    events. What is in a batch under way is not touched.
    """
    losses = {reason: Lost(reason) for reason in ("thinned", "buffer-full", "damaged")}
    for _ in range(PASSES):
        if await bytes_used(connection) <= limit:
            break
        if await forget_delivered(connection):
            continue
        if await _withdraw_oldest(connection, states, losses["damaged"]):
            break  # what is in a batch has changed: go on with the next append
        if not await _make_room_once(connection, states, at_rest, losses):
            break
    return [lost for lost in losses.values() if lost.first_seq]


async def _withdraw_oldest(
    connection: aiosqlite.Connection, states: Sequence[OutboxState], damaged: Lost
) -> int:
    """Give up the envelopes that have waited longest, where more wait than a network has under way."""
    rows = await connection.execute_fetchall(
        "SELECT collector, number FROM batch AS old WHERE state = 'pending' AND "
        "(SELECT count(*) FROM batch WHERE collector = old.collector AND state = 'pending' "
        "AND number > old.number) >= ? ORDER BY sealed_ms, number LIMIT ?",
        (UNDER_WAY, ROWS_A_PASS),
    )
    waiting = list(rows)
    unsealed = {state.name: state.unsealed for state in states}
    for collector, number in waiting:
        now = await load_outboxes(connection, unsealed)  # each changes what is claimed
        [state] = [each for each in now.values() if each.id == collector]
        damaged.note_numbers(await withdraw_batch(connection, number, state))
    return len(waiting)


async def _make_room_once(
    connection: aiosqlite.Connection, states: Sequence[OutboxState], at_rest: AtRest, losses: dict[str, Lost]
) -> bool:
    """One pass over some blocks; whether there were any."""
    under_way = Spans(span for state in states for span in state.under_way)
    first, last = await _range(connection)
    for number, level in enumerate(LEVELS, start=1):
        end = first + round((last - first) * level.share)
        blocks = await _oldest(connection, under_way, f"readings > 0 AND thinned < {number}", end)
        if blocks:
            thinning = Thinning(level)
            await _give_up(connection, blocks, thinning.gives_up, states, at_rest, losses, "thinned", number)
            return True
    for condition, is_given_up in (("readings > 0", _is_reading), ("count > 0", _is_anything)):
        blocks = await _oldest(connection, under_way, condition, last)
        if blocks:
            level_now = len(LEVELS)
            await _give_up(connection, blocks, is_given_up, states, at_rest, losses, "buffer-full", level_now)
            return True
    return False


async def _give_up(
    connection: aiosqlite.Connection,
    blocks: Sequence[StoredBlock],
    is_given_up: Callable[[Item], bool],
    states: Sequence[OutboxState],
    at_rest: AtRest,
    losses: dict[str, Lost],
    reason: str,
    thinned: int,
) -> None:
    for block in blocks:
        try:
            await give_up(connection, block, is_given_up, states, at_rest, losses[reason], thinned=thinned)
        except BlockDamaged:
            await drop_damaged(connection, block, states, losses["damaged"])


async def _range(connection: aiosqlite.Connection) -> tuple[int, int]:
    [(first, last)] = await connection.execute_fetchall(
        "SELECT coalesce(min(first_seq), 0), coalesce(max(first_seq), 0) FROM block"
    )
    return first, last


async def _oldest(
    connection: aiosqlite.Connection, under_way: Spans, condition: str, last: int
) -> list[StoredBlock]:
    outside = "".join(f" AND first_seq NOT BETWEEN {a} AND {b}" for a, b in under_way)
    return await find_blocks(
        connection, f"{condition} AND first_seq <= ?{outside} ORDER BY first_seq LIMIT ?", (last, ROWS_A_PASS)
    )


def _is_reading(item: Item) -> bool:
    return item.__class__ is Reading


def _is_anything(item: Item) -> bool:
    return True
