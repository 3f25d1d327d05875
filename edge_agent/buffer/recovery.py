"""Brings what can be read of a file that was set aside into the store that took its place.

First, in one transaction, what readings to come depend on: numbers, collectors, marks, batches under way.
Then the blocks, in pieces, while the store already takes readings. Every row keeps its number, and which
were brought is noted in the transaction that brings them. What is not found counts as dropped from the first
moment on, and no more once it is: produced = delivered + pending + quarantined + dropped holds all the time.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import aiosqlite
import msgspec

from edge_agent.buffer import outboxes
from edge_agent.buffer.database import scalar
from edge_agent.buffer.findings import (
    PENDING,
    Found,
    FoundBlock,
    Job,
    Kept,
    Piece,
    Pieces,
    Values,
    look,
    read_jobs,
)
from edge_agent.buffer.losses import Lost
from edge_agent.buffer.marks import write_marks
from edge_agent.buffer.outboxes import OutboxState
from edge_agent.buffer.rows import block_with, insert_items
from edge_agent.buffer.spans import Spans
from models.at_rest import AtRest

PIECE_BYTES: Final = 1 << 20
"""What is brought in one transaction, so that appends wait for 50 ms at most."""

MOST_GAPS: Final = 100  # that are told one by one; the last one is told together with all behind it

_INSERT_BATCH: Final = "INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Recovery:
    """Of one file. First `look`; `begin` once in the file's life; `next` and `bring` in turn; `finish` last.

    `look` and `next` read the file and may run in a thread; the others are for the writer.
    """

    def __init__(self, aside: Path, statements: str, at_rest: AtRest) -> None:
        self.aside = aside
        self._statements, self._at_rest = statements, at_rest
        self._found = Found()
        self._pieces: Pieces | None = None
        self._brought = Spans()
        self._batches = 0
        self._refused: list[Values] = []

    def look(self, *, last_given: int = 0, job: Job | None = None) -> None:
        """Read what decides how to go on. `job`: the file was begun before. Raise OSError."""
        last_given = last_given if job is None else job.last_seq
        self._found, self._brought = Found(last_seq=last_given), Spans(job.brought if job else ())
        self._found = look(self.aside, self._statements, self._at_rest, last_given=last_given)
        self._pieces = Pieces(self.aside, self._statements, self._at_rest, brought=self._brought)

    async def begin(self, connection: aiosqlite.Connection) -> None:
        """Let the new, empty store go on where the old one was."""
        found = self._found
        await write_marks(connection, found.marks, self._at_rest)
        for kept in found.collectors:
            values = ", ".join("?" * len(kept.row))
            sql = f"INSERT INTO collector VALUES ({values})"  # noqa: S608  # question marks alone
            await connection.execute_insert(sql, kept.row)
            for key in kept.keys:
                await connection.execute_insert("INSERT INTO content_key VALUES (?, ?, ?, ?)", key)
            for batch in kept.batches:
                await connection.execute_insert(_INSERT_BATCH, batch)
            await outboxes.claim(connection, kept.id, kept.claimed)
        await connection.execute_insert("INSERT INTO meta VALUES ('last_seq', ?)", (found.last_seq,))
        await write_jobs(connection, [Job(self.aside.name, found.last_seq), *found.jobs])
        await balance(connection, self._kept_ids)

    def next(self) -> Piece | None:
        """The next piece of the file; None at its end."""
        return None if self._pieces is None else self._pieces.next(PIECE_BYTES)

    async def bring(
        self, connection: aiosqlite.Connection, piece: Piece, states: Sequence[OutboxState]
    ) -> None:
        """Put a piece in its place."""
        claimed = {state.id: state.claimed for state in states}
        settled = _in_all([outboxes.settled(state) for state in states]) if states else Spans()
        for block in piece.blocks:
            await self._bring_block(connection, block, claimed, settled)
        for state in states:
            if claimed[state.id] != state.claimed:
                await outboxes.claim(connection, state.id, claimed[state.id])
        keys = {(kept.id, key[1]) for kept in self._found.collectors for key in kept.keys}
        for batch in piece.batches:
            if (batch[0], batch[8]) in keys and batch[0] in claimed and batch[5] != PENDING:
                await connection.execute_insert(_INSERT_BATCH, batch)
                self._batches += 1
        self._refused += [row for row in piece.refused if row[1] in claimed]
        job = Job(self.aside.name, self._found.last_seq, list(self._brought))
        await write_jobs(connection, [job, *(await jobs(connection))[1:]])
        await balance(connection, self._kept_ids)

    async def finish(
        self, connection: aiosqlite.Connection, states: Sequence[OutboxState]
    ) -> tuple[dict[str, object], list[Lost]]:
        """Put the rest in order; what came of it, and what is missing. The file is not needed any more."""
        for row in self._refused:
            await self._bring_refused(connection, row, states)
        await write_jobs(connection, (await jobs(connection))[1:])
        await balance(connection, self._kept_ids)
        missing = self._missing()
        pages, broken = (0, 0) if self._pieces is None else self._pieces.pages
        facts: dict[str, object] = {
            "file": self.aside.name,
            "items": sum(span.size for span in self._brought),
            "batches": self._batches + sum(len(kept.batches) for kept in self._found.collectors),
            "missing": sum(span.size for span in missing),
            "pages": pages,
            "broken_pages": broken,
        }
        return facts, _losses(missing)

    @property
    def found(self) -> Found:
        """What `look` has found."""
        return self._found

    def close(self) -> None:
        """Safe to call twice."""
        if self._pieces is not None:
            self._pieces.close()

    @property
    def _kept_ids(self) -> set[int]:
        return {kept.id for kept in self._found.collectors}

    async def _bring_block(
        self,
        connection: aiosqlite.Connection,
        block: FoundBlock,
        claimed: dict[int, Spans],
        settled: Spans,
    ) -> None:
        """`settled`: what all have, as far as is known; perhaps they got it since."""
        free = Spans([(block.first_seq, block.first_seq + len(block.items) - 1)])
        free = free.within(1, self._found.last_seq).without(self._brought)
        if not block.is_certain or (self._found.is_whole and claimed.keys() <= self._kept_ids):
            free = free.without(settled)
        for kept in self._found.collectors:
            if kept.id in claimed and block.is_certain and not self._found.is_whole:
                claimed[kept.id] = claimed[kept.id].without(free.without(kept.in_batches))
        for other in claimed.keys() - self._kept_ids:  # it began without knowing of these
            claimed[other] = claimed[other].without(free)
        # An old copy of a block may not know where batches have ended since.
        ends = [*claimed.values(), *(kept.in_batches for kept in self._found.collectors)]
        for first, last in free.cut_at(ends):
            items = block.items[first - block.first_seq : last - block.first_seq + 1]
            await insert_items(
                connection, items, first, block.stored_ms, self._at_rest, thinned=block.thinned
            )
            self._brought = self._brought.plus(first, last)

    async def _bring_refused(
        self, connection: aiosqlite.Connection, row: Values, states: Sequence[OutboxState]
    ) -> None:
        _, collector, seq, place, refused_ms, reason, item = row
        sql = "SELECT count(*) FROM refused WHERE collector = ? AND seq = ?"
        if await scalar(connection, sql, (collector, seq)):
            return
        # It is to be left out of batches only while it is in none, and there to be left out.
        if place == "open":
            is_there = await block_with(connection, seq) is not None
            free = any(state.id == collector and state.claimed.at(seq) is None for state in states)
            place = "open" if is_there and free else "batch" if is_there else "gone"
        await connection.execute_insert(
            "INSERT INTO refused (collector, seq, place, refused_ms, reason, item) VALUES (?, ?, ?, ?, ?, ?)",
            (collector, seq, place, refused_ms, reason, item),
        )

    def _missing(self) -> Spans:
        """Numbers that were given, and that neither this store nor all collectors have."""
        last_seq = self._found.last_seq
        kept = self._found.collectors
        ends = [self._brought.last, *(collector.claimed.last for collector in kept)]
        lost = Spans() if self._pieces is None else self._pieces.lost()
        # How far a lost block went is not known: at most to the next one.
        lost = Spans((first, (self._brought.next_after(last) or last_seq + 1) - 1) for first, last in lost)
        lost = Spans([*lost, (max(ends) + 1, last_seq)]).within(1, last_seq).without(self._brought)
        return lost.without(_in_all([self._accounted(collector) for collector in kept])) if kept else lost

    def _accounted(self, kept: Kept) -> Spans:
        """What that collector has, or has in a batch."""
        if self._found.is_whole:
            return kept.claimed
        begins = [span.first for spans in (self._brought, kept.in_batches) for span in spans]
        return Spans([*kept.claimed.within(1, min(begins, default=1) - 1), *kept.in_batches])


async def jobs(connection: aiosqlite.Connection) -> list[Job]:
    """Files that are not brought in to their end yet, the one that is under way first."""
    rows = await connection.execute_fetchall("SELECT value FROM meta WHERE name = 'salvage'")
    return read_jobs(next((value for (value,) in rows), None))


async def write_jobs(connection: aiosqlite.Connection, unfinished: Sequence[Job]) -> None:
    await connection.execute_insert("DELETE FROM meta WHERE name = 'salvage'")
    if unfinished:
        value = msgspec.msgpack.encode(unfinished)
        await connection.execute_insert("INSERT INTO meta VALUES ('salvage', ?)", (value,))


async def balance(connection: aiosqlite.Connection, kept: Collection[int]) -> None:
    """Let what is neither delivered nor here count as dropped; `kept` began in the file that was set aside.

    For a collector that began later it is rather as if it had never been produced.
    """
    for state in (await outboxes.load_outboxes(connection)).values():
        counts = await outboxes.counts(connection, state)
        missing = counts.produced - counts.delivered - counts.pending - counts.quarantined - counts.dropped
        dropped = max(missing, -counts.dropped) if state.id in kept else 0
        await outboxes.count_up(connection, state.id, dropped=dropped)
        await connection.execute_insert(
            "UPDATE collector SET produced_before = produced_before + ? WHERE id = ?",
            (missing - dropped, state.id),
        )


def _in_all(sets: Sequence[Spans]) -> Spans:
    common = sets[0]
    for other in sets[1:]:
        common = common.common(other)
    return common


def _losses(missing: Spans) -> list[Lost]:
    """One for each range, and one for all from the hundredth on."""
    losses: list[Lost] = []
    for place, (first, last) in enumerate(missing):
        if place < MOST_GAPS:
            losses.append(Lost("damaged"))
        losses[-1].note(first, last, [])
    return losses
