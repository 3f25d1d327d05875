"""The SQL on sealed batches, and where the store as a whole is.

Every function runs inside one transaction of the writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from edge_agent.buffer.contract import Batch, Counts, OutOfOrder
from edge_agent.buffer.database import scalar
from edge_agent.buffer.room import bytes_used
from edge_agent.buffer.rows import split_block_after
from models.envelope import FIRST_PREVIOUS

_COLUMNS = "number, first_seq, count, key_id, body, digest"

_POSITION = """
SELECT
    (SELECT value FROM meta WHERE name = 'epoch'),
    coalesce((SELECT number FROM batch ORDER BY number DESC LIMIT 1), 0),
    coalesce((SELECT first_seq + count - 1 FROM batch ORDER BY number DESC LIMIT 1), 0),
    (SELECT digest FROM batch ORDER BY number DESC LIMIT 1),
    coalesce((SELECT first_seq + count - 1 FROM block ORDER BY first_seq DESC LIMIT 1), 0),
    coalesce((SELECT first_seq + count - 1 FROM gap ORDER BY first_seq DESC LIMIT 1), 0)
"""

_COUNTS = """
SELECT
    (SELECT value FROM meta WHERE name = 'delivered'),
    (SELECT coalesce(sum(count), 0) FROM block),
    (SELECT value FROM meta WHERE name = 'quarantined'),
    (SELECT coalesce(sum(count), 0) FROM gap),
    (SELECT count(*) FROM batch WHERE state = 'pending'),
    (SELECT count(*) FROM batch WHERE state = 'delivered'),
    (SELECT stored_ms FROM block ORDER BY first_seq LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the store is, as its rows say."""

    epoch: bytes
    number: int  # of the newest batch, 0 before the first
    sealed_to: int  # the last sequence number that is in a batch
    digest: bytes  # of the newest batch
    last_seq: int  # the last that was given
    unsealed: int  # items that are in no batch


async def position(connection: aiosqlite.Connection, *, unsealed: int | None = None) -> Position:
    """As of now. Who knows `unsealed` saves the sum over what may be a week of blocks."""
    [row] = await connection.execute_fetchall(_POSITION)
    epoch, number, sealed_to, digest, last_block, last_gap = row
    if unsealed is None:
        sql = "SELECT coalesce(sum(count), 0) FROM block WHERE first_seq > ?"
        unsealed = await scalar(connection, sql, (sealed_to,))
    last_seq = max(sealed_to, last_block, last_gap)
    return Position(epoch, number, sealed_to, digest or FIRST_PREVIOUS, last_seq, unsealed)


async def counts(connection: aiosqlite.Connection) -> Counts:
    at = await position(connection)
    [row] = await connection.execute_fetchall(_COUNTS)
    delivered, pending, quarantined, dropped, under_way, kept, oldest_ms = row
    return Counts(
        produced=at.last_seq,
        delivered=delivered,
        pending=pending,
        quarantined=quarantined,
        dropped=dropped,
        unsealed=at.unsealed,
        batches_pending=under_way,
        batches_kept=kept,
        oldest_pending_ms=oldest_ms,
        bytes_used=await bytes_used(connection),
    )


async def find_batches(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[Any]
) -> list[Batch]:
    """Batches by a condition of ours, which also says their order."""
    sql = f"SELECT {_COLUMNS} FROM batch WHERE {where}"  # noqa: S608  # our own text
    return [Batch(*row) for row in await connection.execute_fetchall(sql, parameters)]


async def store_batch(connection: aiosqlite.Connection, batch: Batch, *, at: Position, now_ms: int) -> None:
    if batch.number != at.number + 1 or batch.first_seq <= at.sealed_to:
        raise OutOfOrder(f"batch {batch.number} does not follow batch {at.number}")
    await split_block_after(connection, batch.first_seq + batch.count - 1)
    await connection.execute_insert(
        f"INSERT INTO batch ({_COLUMNS}, state, sealed_ms) "  # noqa: S608  # our own text
        "VALUES (?, ?, ?, ?, ?, ?, 'pending', ?)",
        (batch.number, batch.first_seq, batch.count, batch.key_id, batch.body, batch.digest, now_ms),
    )


async def deliver_batch(
    connection: aiosqlite.Connection, number: int, *, quarantined: int, receipt: str, now_ms: int
) -> None:
    rows = await connection.execute_fetchall(
        "UPDATE batch SET state = 'delivered', receipt = ?, delivered_ms = ? "
        "WHERE number = ? AND state = 'pending' RETURNING first_seq, count",
        (receipt, now_ms, number),
    )
    for first_seq, count in rows:
        await connection.execute_insert(
            "DELETE FROM block WHERE first_seq BETWEEN ? AND ?", (first_seq, first_seq + count - 1)
        )
        await count_up(connection, "delivered", count - quarantined)
        await count_up(connection, "quarantined", quarantined)


async def withdraw_batch(connection: aiosqlite.Connection, number: int, *, at: Position) -> None:
    if number != at.number:
        raise OutOfOrder(f"batch {number} is not the newest, which is {at.number}")
    await connection.execute_insert("DELETE FROM batch WHERE number = ? AND state = 'pending'", (number,))


async def count_up(connection: aiosqlite.Connection, name: str, amount: int) -> None:
    await connection.execute_insert("UPDATE meta SET value = value + ? WHERE name = ?", (amount, name))


async def begin_epoch(connection: aiosqlite.Connection) -> None:
    """Number all that is not delivered from 1 again, without holes, under a new epoch."""
    await connection.execute_insert("DELETE FROM batch")
    await connection.execute_insert("DELETE FROM gap")
    await connection.execute_insert(
        "CREATE TEMP TABLE renumbered AS SELECT first_seq AS old_seq, "
        "sum(count) OVER (ORDER BY first_seq) - count + 1 AS new_seq FROM block"
    )
    await connection.execute_insert("CREATE UNIQUE INDEX temp.renumbered_by ON renumbered (old_seq)")
    # By way of negative numbers, so that no row lands on one that has not moved yet.
    await connection.execute_insert(
        "UPDATE block SET first_seq = -(SELECT new_seq FROM renumbered WHERE old_seq = first_seq)"
    )
    await connection.execute_insert("UPDATE block SET first_seq = -first_seq")
    await connection.execute_insert("DROP TABLE temp.renumbered")
    await connection.execute_insert("UPDATE meta SET value = randomblob(16) WHERE name = 'epoch'")
    await connection.execute_insert("UPDATE meta SET value = 0 WHERE name IN ('delivered', 'quarantined')")


async def owner(connection: aiosqlite.Connection) -> str:
    """The gateway that the store belongs to; "" before the first enrolment."""
    [(gateway_id,)] = await connection.execute_fetchall("SELECT value FROM meta WHERE name = 'gateway_id'")
    return str(gateway_id)
