"""The SQL on what each collector has of the buffer: its cursor, its batches, and what it refused.

Every function runs inside one transaction of the writer. Numbers are *claimed* for a collector once a batch
for it holds them. Claims begin and end where blocks do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiosqlite

from edge_agent.buffer.contract import Batch, Counts, OutOfOrder
from edge_agent.buffer.database import RowsBroken, bytes_used, scalar
from edge_agent.buffer.rows import delete_between, split_block_after
from edge_agent.buffer.spans import Span, Spans
from models.at_rest import AtRest
from models.envelope import FIRST_PREVIOUS

MOST_SPANS_TOLD: Final = 1000

_BATCH: Final = "number, first_seq, count, items, key_id, body, digest"
_BATCH_TYPES: Final = [int, int, int, int, bytes, bytes, bytes]
_BETWEEN: Final = """
SELECT free, next - 1 FROM (
    SELECT first_seq + count AS free, lead(first_seq) OVER (ORDER BY first_seq) AS next FROM block
) WHERE next > free LIMIT ?
"""
_LAST_SEQ: Final = """
SELECT max(
    coalesce((SELECT first_seq + count - 1 FROM block ORDER BY first_seq DESC LIMIT 1), 0),
    coalesce((SELECT max(last_seq) FROM claimed), 0),
    coalesce((SELECT value FROM meta WHERE name = 'last_seq'), 0)
)
"""


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How far one collector is, as the rows say."""

    id: int
    name: str
    gateway_id: str
    epoch: bytes
    epoch_first: int  # the first number that was given in this epoch
    number: int  # of the newest batch, 0 before the first
    digest: bytes  # of the newest batch
    claimed: Spans
    under_way: Spans  # of `claimed`: in batches that are not delivered
    refused: frozenset[int]  # numbers in no batch that this collector is not to get
    unsealed: int  # items that are in no batch, without those that are refused


async def last_seq(connection: aiosqlite.Connection) -> int:
    """The last sequence number that was given."""
    return await scalar(connection, _LAST_SEQ)


async def load_outboxes(
    connection: aiosqlite.Connection, unsealed: Mapping[str, int] | None = None
) -> dict[str, OutboxState]:
    """By name. Who knows `unsealed` of all saves the sum over what may be a week of blocks."""
    rows = await connection.execute_fetchall(
        "SELECT id, name, gateway_id, epoch, epoch_first FROM collector ORDER BY id"
    )
    known = unsealed or {}
    return {
        name: await _load(connection, number, name, gateway_id, epoch, epoch_first, known.get(name))
        for number, name, gateway_id, epoch, epoch_first in rows
    }


async def _load(
    connection: aiosqlite.Connection,
    number: int,
    name: str,
    gateway_id: str,
    epoch: bytes,
    epoch_first: int,
    unsealed: int | None,
) -> OutboxState:
    newest = await connection.execute_fetchall(
        "SELECT number, digest FROM batch WHERE collector = ? ORDER BY number DESC LIMIT 1", (number,)
    )
    batch, digest = next(iter(newest), (0, FIRST_PREVIOUS))
    if not isinstance(batch, int) or not isinstance(digest, bytes):
        raise RowsBroken("the newest batch has columns of other types")
    claimed = await _spans(connection, "SELECT first_seq, last_seq FROM claimed WHERE collector = ?", number)
    under_way = await _spans(
        connection,
        "SELECT first_seq, first_seq + count - 1 FROM batch WHERE collector = ? AND state = 'pending'",
        number,
    )
    refused = await connection.execute_fetchall(
        "SELECT seq FROM refused WHERE collector = ? AND place = 'open'", (number,)
    )
    numbers = frozenset(seq for (seq,) in refused)
    if unsealed is None:
        unsealed = await _present(connection, claimed) - len(numbers)
    return OutboxState(
        number, name, gateway_id, epoch, epoch_first, batch, digest, claimed, under_way, numbers, unsealed
    )


async def add_outbox(connection: aiosqlite.Connection, name: str) -> None:
    """A collector that is to get all that is here."""
    first = await scalar(connection, "SELECT coalesce(min(first_seq), 0) FROM block")
    before = first - 1 if first else await last_seq(connection)
    number = await scalar(connection, "SELECT coalesce(max(id), 0) + 1 FROM collector")
    await connection.execute_insert(
        "INSERT INTO collector (id, name, gateway_id, epoch, epoch_first, produced_before, delivered, "
        "quarantined, dropped) VALUES (?, ?, '', randomblob(16), ?, ?, 0, 0, 0)",
        (number, name, before + 1, before),
    )
    await claim(connection, number, Spans([(1, before)]))


async def remove_outbox(
    connection: aiosqlite.Connection, state: OutboxState, others: Sequence[OutboxState]
) -> None:
    """What only this collector was to get goes with it; but the last one leaves what is here to the next."""
    await connection.execute_insert(
        "INSERT OR REPLACE INTO meta VALUES ('last_seq', ?)", (await last_seq(connection),)
    )
    if others:
        free = settled(others[0])
        for other in others[1:]:
            free = free.common(settled(other))
        await delete_between(connection, free)
    for table in ("batch", "content_key", "claimed", "refused"):
        sql = f"DELETE FROM {table} WHERE collector = ?"  # noqa: S608  # our own words
        await connection.execute_insert(sql, (state.id,))
    await connection.execute_insert("DELETE FROM collector WHERE id = ?", (state.id,))


async def counts(connection: aiosqlite.Connection, state: OutboxState) -> Counts:
    [(produced_before, delivered, quarantined, dropped)] = await connection.execute_fetchall(
        "SELECT produced_before, delivered, quarantined, dropped FROM collector WHERE id = ?", (state.id,)
    )
    [(under_way, items)] = await connection.execute_fetchall(
        "SELECT count(*), coalesce(sum(items), 0) FROM batch WHERE collector = ? AND state = 'pending'",
        (state.id,),
    )
    kept = await scalar(
        connection, "SELECT count(*) FROM batch WHERE collector = ? AND state = 'delivered'", (state.id,)
    )
    return Counts(
        produced=await last_seq(connection) - produced_before,
        delivered=delivered,
        pending=state.unsealed + items,
        quarantined=quarantined,
        dropped=dropped,
        unsealed=state.unsealed,
        batches_pending=under_way,
        batches_kept=kept,
        oldest_pending_ms=await _oldest_pending_ms(connection, state),
        bytes_used=await bytes_used(connection),
    )


async def find_batches(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[Any]
) -> list[Batch]:
    """Batches by a condition of ours, which also says their order."""
    sql = f"SELECT {_BATCH} FROM batch WHERE {where}"  # noqa: S608  # our own text
    rows = [tuple(row) for row in await connection.execute_fetchall(sql, parameters)]
    if any([type(value) for value in row] != _BATCH_TYPES for row in rows):
        raise RowsBroken("a batch has columns of other types")
    return [Batch(*row) for row in rows]


async def store_batch(
    connection: aiosqlite.Connection, batch: Batch, state: OutboxState, at_rest: AtRest, now_ms: int
) -> None:
    """Raise OutOfOrder."""
    if batch.number != state.number + 1:
        raise OutOfOrder(f"batch {batch.number} does not follow batch {state.number}")
    if state.claimed.within(batch.first_seq, batch.last_seq):
        raise OutOfOrder(f"batch {batch.number} has items that are in another batch")
    for end in (batch.first_seq - 1, batch.last_seq):
        await split_block_after(connection, end, at_rest)
    await connection.execute_insert(
        f"INSERT INTO batch (collector, {_BATCH}, state, sealed_ms) "  # noqa: S608  # our own text
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
        (
            state.id, batch.number, batch.first_seq, batch.count, batch.items, batch.key_id, batch.body,
            batch.digest, now_ms,
        ),
    )  # fmt: skip
    await claim(connection, state.id, state.claimed.plus(batch.first_seq, batch.last_seq))
    await _move_refused(connection, state, batch.first_seq, batch.last_seq, "open", "batch")


async def deliver_batch(
    connection: aiosqlite.Connection,
    number: int,
    state: OutboxState,
    others: Sequence[OutboxState],
    *,
    quarantined: int,
    receipt: str,
    now_ms: int,
) -> None:
    """Its items go, those apart that another of the collectors is still to get."""
    rows = await connection.execute_fetchall(
        "UPDATE batch SET state = 'delivered', receipt = ?, delivered_ms = ? "
        "WHERE collector = ? AND number = ? AND state = 'pending' RETURNING first_seq, count, items",
        (receipt, now_ms, state.id, number),
    )
    for first_seq, count, items in rows:
        await count_up(connection, state.id, delivered=items - quarantined, quarantined=quarantined)
        free = Spans([(first_seq, first_seq + count - 1)])
        for other in others:
            free = free.common(settled(other))
        await delete_between(connection, free)


async def withdraw_batch(connection: aiosqlite.Connection, number: int, state: OutboxState) -> Spans:
    """An older one than the newest stays as a link of the chain, without its bytes.

    Returns the numbers whose items are lost: they were damaged on disk, and were in this batch alone.
    """
    rows = await connection.execute_fetchall(
        "SELECT first_seq, count, items FROM batch WHERE collector = ? AND number = ? AND state = 'pending'",
        (state.id, number),
    )
    lost = Spans()
    for first_seq, count, items in rows:
        if number == state.number:
            await connection.execute_insert(
                "DELETE FROM batch WHERE collector = ? AND number = ?", (state.id, number)
            )
        else:
            await connection.execute_insert(
                "UPDATE batch SET state = 'withdrawn', delivered_ms = sealed_ms, body = x'' "
                "WHERE collector = ? AND number = ?",
                (state.id, number),
            )
        last_seq = first_seq + count - 1
        await claim(connection, state.id, state.claimed.minus(first_seq, last_seq))
        lost = await _free(connection, state, first_seq, last_seq, items)
    return lost


async def begin_epoch(connection: aiosqlite.Connection, state: OutboxState) -> Spans:
    """Put all that is not delivered in no batch again, and number batches from 1, under a new epoch.

    Returns what `withdraw_batch` does.
    """
    await claim(connection, state.id, settled(state))
    lost: list[Span] = []
    for first, last, items in await connection.execute_fetchall(
        "SELECT first_seq, first_seq + count - 1, items FROM batch WHERE collector = ? AND state = 'pending'",
        (state.id,),
    ):
        lost += await _free(connection, state, first, last, items)
    await connection.execute_insert("DELETE FROM batch WHERE collector = ?", (state.id,))
    await connection.execute_insert(
        "UPDATE collector SET epoch = randomblob(16), epoch_first = ? WHERE id = ?",
        (await last_seq(connection) + 1, state.id),
    )
    return Spans(lost)


async def _free(
    connection: aiosqlite.Connection, state: OutboxState, first_seq: int, last_seq: int, items: int
) -> Spans:
    """Let the items of a batch be in none; which numbers are in no block any more. These count as dropped."""
    blocks = list(
        await connection.execute_fetchall(
            "SELECT first_seq, count, holes FROM block WHERE first_seq BETWEEN ? AND ?", (first_seq, last_seq)
        )
    )
    lost = Spans([(first_seq, last_seq)])
    for first, count, _ in blocks:
        lost = lost.minus(first, first + count - 1)
        await _move_refused(connection, state, first, first + count - 1, "batch", "open")
    if lost:
        refused = await scalar(
            connection,
            "SELECT count(*) FROM refused WHERE collector = ? AND place = 'open' AND seq BETWEEN ? AND ?",
            (state.id, first_seq, last_seq),
        )
        here = sum(count - holes for _, count, holes in blocks) - refused
        await count_up(connection, state.id, dropped=items - here)
    return lost


async def refuse_item(
    connection: aiosqlite.Connection, seq: int, item: bytes, state: OutboxState, reason: str, now_ms: int
) -> None:
    """`item` as the table keeps it, encrypted."""
    await connection.execute_insert(
        "INSERT INTO refused (collector, seq, place, refused_ms, reason, item) "
        "VALUES (?, ?, 'open', ?, ?, ?)",
        (state.id, seq, now_ms, reason, item),
    )
    await count_up(connection, state.id, quarantined=1)


async def note_lost(
    connection: aiosqlite.Connection, states: Sequence[OutboxState], block_first: int, numbers: Sequence[int]
) -> None:
    """Items of one block are gone: count them for each collector that was still to get them."""
    for state in states:
        if state.claimed.at(block_first) is None:
            gone = [seq for seq in numbers if seq in state.refused]
            await count_up(connection, state.id, dropped=len(numbers) - len(gone))
            for seq in gone:
                await _move_refused(connection, state, seq, seq, "open", "gone")


async def count_up(
    connection: aiosqlite.Connection,
    collector: int,
    *,
    delivered: int = 0,
    quarantined: int = 0,
    dropped: int = 0,
) -> None:
    await connection.execute_insert(
        "UPDATE collector SET delivered = delivered + ?, quarantined = quarantined + ?, "
        "dropped = dropped + ? WHERE id = ?",
        (delivered, quarantined, dropped, collector),
    )


def settled(state: OutboxState) -> Spans:
    """What this collector has, so that it needs no item of it any more."""
    numbers = state.claimed
    for span in state.under_way:
        numbers = numbers.minus(*span)
    return numbers


async def claim(connection: aiosqlite.Connection, collector: int, claimed: Spans) -> None:
    """Let these be all that need not be put in a batch for this collector."""
    await connection.execute_insert("DELETE FROM claimed WHERE collector = ?", (collector,))
    for first, last in claimed:
        await connection.execute_insert(
            "INSERT INTO claimed (collector, first_seq, last_seq) VALUES (?, ?, ?)", (collector, first, last)
        )


async def _move_refused(
    connection: aiosqlite.Connection, state: OutboxState, first_seq: int, last_seq: int, here: str, there: str
) -> None:
    """Note of refused items that they are in no batch (open), a hole of one (batch), or lost (gone)."""
    await connection.execute_insert(
        "UPDATE refused SET place = ? WHERE collector = ? AND place = ? AND seq BETWEEN ? AND ?",
        (there, state.id, here, first_seq, last_seq),
    )


async def empty_between(connection: aiosqlite.Connection) -> Spans:
    """Numbers between blocks, which are in none: at most `MOST_SPANS_TOLD` ranges of them."""
    found = await connection.execute_fetchall(_BETWEEN, (MOST_SPANS_TOLD,))
    return Spans([(first, last) for first, last in found])


async def _present(connection: aiosqlite.Connection, without: Spans) -> int:
    """How many items are in blocks outside of these ranges."""
    sql = "SELECT coalesce(sum(count - holes), 0) FROM block"
    total = await scalar(connection, sql)
    for first, last in without:
        total -= await scalar(connection, f"{sql} WHERE first_seq BETWEEN ? AND ?", (first, last))
    return total


async def _oldest_pending_ms(connection: aiosqlite.Connection, state: OutboxState) -> int | None:
    numbers = settled(state)
    seq = 1
    while True:
        seq = numbers.next_free(seq)
        found = await connection.execute_fetchall(
            "SELECT first_seq, stored_ms FROM block WHERE first_seq >= ? ORDER BY first_seq LIMIT 1", (seq,)
        )
        for seq, stored_ms in found:
            if numbers.at(seq) is None:
                return int(stored_ms)
            break
        else:
            return None


async def _spans(connection: aiosqlite.Connection, sql: str, collector: int) -> Spans:
    return Spans([(first, last) for first, last in await connection.execute_fetchall(sql, (collector,))])
