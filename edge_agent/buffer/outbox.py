"""One collector's outbox in the SQLite buffer."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import aiosqlite

from edge_agent.buffer import outboxes, rows
from edge_agent.buffer.blocks import BlockDamaged, encode_item
from edge_agent.buffer.contract import Batch, BufferUnavailable, Counts, Cut
from edge_agent.buffer.core import Core
from edge_agent.buffer.losses import Lost, drop_damaged
from edge_agent.buffer.outboxes import OutboxState
from edge_agent.buffer.room import forget_delivered
from edge_agent.buffer.spans import Spans
from models.reading import Item

T = TypeVar("T")


class SqliteOutbox:
    """See `edge_agent.buffer.contract.Outbox`."""

    def __init__(self, core: Core, name: str, *, retention_ms: int) -> None:
        """For `SqliteBuffer.outbox` alone."""
        self.name = name
        self._core, self._retention_ms = core, retention_ms

    @property
    def epoch(self) -> bytes:
        return self._state.epoch

    @property
    def unsealed(self) -> int:
        return self._state.unsealed

    async def cut(self, limit: int, *, after: int = 0) -> Cut | None:
        return await self._core.run(lambda: self._cut(limit, after))

    async def store(self, batch: Batch) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await outboxes.store_batch(
                connection, batch, self._state, self._core.at_rest, self._core.now_ms()
            )

        await self._change(work, sealed=batch.items, bytes_written=len(batch.body))

    async def pending(self, *, after: int = 0) -> Batch | None:
        found = await self._find_batches("state = 'pending' AND number > ? ORDER BY number LIMIT 1", after)
        return found[0] if found else None

    async def deliver(self, number: int, *, quarantined: int, receipt: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            now_ms = self._core.now_ms()
            await outboxes.deliver_batch(
                connection,
                number,
                self._state,
                self._core.states(without=self.name),
                quarantined=quarantined,
                receipt=receipt,
                now_ms=now_ms,
            )
            oldest_ms = now_ms - self._retention_ms
            await forget_delivered(connection, before_ms=oldest_ms)
            await connection.execute_insert(
                "DELETE FROM refused WHERE place <> 'open' AND refused_ms < ?", (oldest_ms,)
            )

        await self._change(work, sealed=0)

    async def withdraw(self, number: int) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await _tell_lost(
                self._core, connection, await outboxes.withdraw_batch(connection, number, self._state)
            )

        await self._change(work)

    async def refuse(self, seq: int, reason: str) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            state = self._state
            block = None if seq in state.refused else await rows.block_with(connection, seq)
            if block is None or state.claimed.at(seq) is not None:
                return
            item = block.items(self._core.at_rest)[seq - block.first_seq]
            if item is None:
                return
            sealed = self._core.at_rest.seal(encode_item(item), table="refused", name=seq)
            await outboxes.refuse_item(connection, seq, sealed, state, reason, self._core.now_ms())
            lost = Lost("refused")
            lost.note(seq, seq, [item])
            facts = {**lost.facts(), "device_id": item.device_id, "detail": reason, "collector": self.name}
            await self._core.tell(connection, "buffer.gap", facts)

        await self._change(work)

    async def kept(self, first_seq: int, last_seq: int, *, limit: int) -> list[Batch]:
        return await self._find_batches(
            "state = 'delivered' AND first_seq + count > ? AND first_seq BETWEEN "
            "coalesce((SELECT max(first_seq) FROM batch AS other WHERE other.collector = batch.collector "
            "AND other.state = 'delivered' AND first_seq <= ?), 0) AND ? ORDER BY number LIMIT ?",
            first_seq,
            first_seq,
            last_seq,
            limit,
        )

    async def add_key(self, key_id: bytes, package: bytes) -> None:
        await self._execute(
            "INSERT INTO content_key (collector, key_id, sent, package) VALUES (?, ?, 0, ?)", key_id, package
        )

    async def key_package(self, key_id: bytes) -> tuple[bytes, bool]:
        async def work(connection: aiosqlite.Connection) -> tuple[bytes, bool]:
            sql = "SELECT package, sent FROM content_key WHERE collector = ? AND key_id = ?"
            for package, sent in await connection.execute_fetchall(sql, (self._state.id, key_id)):
                return package, bool(sent)
            raise KeyError(key_id.hex())

        return await self._core.read(work)

    async def key_sent(self, key_id: bytes, *, sent: bool = True) -> None:
        await self._execute(
            "UPDATE content_key SET sent = ?3 WHERE collector = ?1 AND key_id = ?2", key_id, int(sent)
        )

    async def belong_to(self, gateway_id: str) -> None:
        if self._state.gateway_id == gateway_id:
            return

        async def work(connection: aiosqlite.Connection) -> None:
            before = self._state.gateway_id
            await connection.execute_insert(
                "UPDATE collector SET gateway_id = ? WHERE id = ?", (gateway_id, self._state.id)
            )
            if before:
                await self._renumber(connection, "enrolled-again")
                await connection.execute_insert(
                    "DELETE FROM content_key WHERE collector = ?", (self._state.id,)
                )

        await self._change(work)

    async def begin_epoch(self) -> None:
        await self._change(lambda connection: self._renumber(connection, "numbers-taken"))

    async def wait_unsealed(self, count: int) -> None:
        while self._state.unsealed < count:
            await self._core.grown()

    async def counts(self) -> Counts:
        return await self._core.read(lambda connection: outboxes.counts(connection, self._state))

    # All that follows runs in the writer's task, but for the helpers that hand work to it.

    @property
    def _state(self) -> OutboxState:
        state = self._core.state_of(self.name)
        if state is None:
            raise BufferUnavailable(
                f"nothing is kept for the collector {self.name!r} any more; start the agent again"
            )
        return state

    async def _change(
        self,
        work: Callable[[aiosqlite.Connection], Awaitable[None]],
        *,
        sealed: int | None = None,
        bytes_written: int = 0,
    ) -> None:
        """Do `work`, which puts `sealed` items in a batch; None: how many, and for whom, is to be counted."""

        async def changing() -> None:
            unsealed = None
            if sealed is not None:
                unsealed = {state.name: state.unsealed for state in self._core.states()}
                unsealed[self.name] -= sealed
            await self._core.changing(work, unsealed=unsealed, bytes_written=bytes_written)

        await self._core.run(changing)

    async def _execute(self, sql: str, *parameters: object) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute_insert(sql, (self._state.id, *parameters))

        await self._change(work, sealed=0)

    async def _find_batches(self, where: str, *parameters: int) -> list[Batch]:
        return await self._core.read(
            lambda connection: outboxes.find_batches(
                connection, f"collector = ? AND {where}", (self._state.id, *parameters)
            )
        )

    async def _cut(self, limit: int, after: int) -> Cut | None:
        while True:
            blocks = await self._core.guarded(partial(self._free_blocks, limit, after))
            items: list[Item | None] = []
            for block in blocks:
                if items and len(items) + block.count > limit:
                    break
                try:
                    items += block.items(self._core.at_rest)[max(0, after + 1 - block.first_seq) :]
                except BlockDamaged:
                    break
            if items:
                cut = self._cut_of(max(after + 1, blocks[0].first_seq), items[:limit])
                if cut.present:
                    return cut
                after = cut.first_seq + len(cut.items) - 1  # only holes and what this collector refused
            elif not blocks:
                return None
            else:
                await self._drop_damaged(blocks[0])

    async def _free_blocks(self, limit: int, after: int) -> list[rows.StoredBlock]:
        return await rows.free_blocks(self._core.connection, self._state.claimed, after=after, limit=limit)

    def _cut_of(self, first_seq: int, items: list[Item | None]) -> Cut:
        state = self._state
        for seq in state.refused:
            if first_seq <= seq < first_seq + len(items):
                items[seq - first_seq] = None
        return Cut(
            state.epoch, state.number + 1, first_seq, state.digest, items, first_seq < state.epoch_first
        )

    async def _drop_damaged(self, block: rows.StoredBlock) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            lost = Lost("damaged")
            await drop_damaged(connection, block, self._core.states(), lost)
            await self._core.tell(connection, "buffer.gap", lost.facts())

        await self._core.changing(work)

    async def _renumber(self, connection: aiosqlite.Connection, reason: str) -> None:
        await begin_epoch(self._core, connection, self._state, reason)


async def begin_epoch(core: Core, connection: aiosqlite.Connection, state: OutboxState, reason: str) -> None:
    """A new epoch for one collector, with the event that tells it so, and which numbers it is not sent."""
    await _tell_lost(core, connection, await outboxes.begin_epoch(connection, state))
    not_sent = Spans([*outboxes.settled(state), *await outboxes.empty_between(connection)])
    facts = {
        "reason": reason,
        "collector": state.name,
        "gateway_id": state.gateway_id,
        "epoch_before": state.epoch.hex(),
        "not_sent": [list(span) for span in not_sent][: outboxes.MOST_SPANS_TOLD],
    }
    await core.tell(connection, "buffer.epoch-began", facts)


async def _tell_lost(core: Core, connection: aiosqlite.Connection, numbers: Spans) -> None:
    if numbers:
        lost = Lost("damaged")
        lost.note_numbers(numbers)
        await core.tell(connection, "buffer.gap", lost.facts())
