"""Reads a buffer file that was set aside: first what decides how to go on, then the rest in pieces.

A row counts when it can be opened with the key, or its digest is right. What collectors have is said by rows
without either: while all of these can be read it is taken as it is, else what is in doubt is sent once more,
which the collector tells by number and content.
"""

import contextlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from edge_agent.buffer.blocks import BlockDamaged
from edge_agent.buffer.marks import opened_marks
from edge_agent.buffer.rows import StoredBlock
from edge_agent.buffer.spans import Spans
from edge_agent.salvage.found import Row, Via
from edge_agent.salvage.records import Value
from edge_agent.salvage.salvage import Salvage
from models.at_rest import AtRest, RowDamaged
from models.envelope import EnvelopeRefused, is_intact, package_key_id, read_header
from models.reading import Item

_STATE_TABLES: Final = ("meta", "collector", "claimed", "batch")
_WHOLE_TABLES: Final = ("batch", "content_key", "mark")
PENDING: Final = "pending"
_WITHDRAWN: Final = "withdrawn"

Values = tuple[Any, ...]


class Job(msgspec.Struct, array_like=True):
    """A file that was set aside and is being brought in, as the store remembers it."""

    file: str  # its name, beside the store
    last_seq: int  # the last number that was given in it
    brought: list[tuple[int, int]] = []


@dataclass(slots=True)
class Kept:
    """What is known of one collector."""

    row: Values  # of the table
    claimed: Spans = field(default_factory=Spans)
    in_batches: Spans = field(default_factory=Spans)  # of `claimed`: in batches that are known
    batches: list[Values] = field(default_factory=list)  # whole rows: those under way, and the newest
    keys: list[Values] = field(default_factory=list)

    @property
    def id(self) -> int:
        return int(self.row[0])


@dataclass(slots=True)
class Found:
    """What decides how the new store begins."""

    marks: dict[str, str] = field(default_factory=dict)
    collectors: list[Kept] = field(default_factory=list)
    is_whole: bool = False  # all that says what collectors have could be read
    last_seq: int = 0  # the greatest number that is known to be given
    jobs: list[Job] = field(default_factory=list)  # which the file itself had not finished


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block whose items are as they were written."""

    first_seq: int
    stored_ms: int
    thinned: int
    items: list[Item | None]
    is_certain: bool


def look(path: Path, statements: str, at_rest: AtRest, *, last_given: int) -> Found:
    """`last_given`: by the witness, 0 if it says nothing. Raise OSError when the file cannot be opened."""
    heads: dict[str, list[Row]] = defaultdict(list)
    with Salvage(path, statements, heads=True, with_last=True) as salvage:
        for name in (*_STATE_TABLES, *(() if last_given else ("block",))):
            heads[name] = [row for rows in salvage.table(name) for row in rows]
        is_whole = not salvage.report.log_is_damaged and all(map(salvage.is_whole, _STATE_TABLES))
        if not is_whole:
            for rows in salvage.orphans():
                for row in rows:
                    if row.via is not Via.DOUBTFUL:
                        heads[row.table].append(row)
    noted = {row.values[0]: row.values[1] for row in heads["meta"]}
    found = Found(is_whole=is_whole)
    for row in heads["collector"]:
        kept = Kept(row.values)
        kept.claimed = Spans(row.values[1:] for row in heads["claimed"] if row.values[0] == kept.id)
        spans = (_span(row.values) for row in heads["batch"] if row.values[0] == kept.id)
        kept.in_batches = Spans(spans)
        found.collectors.append(kept)
    _read_whole(
        path, statements, at_rest, found, [row for row in heads["batch"] if row.values[5] != _WITHDRAWN]
    )
    ends = [row.values[0] + row.values[1] - 1 for row in heads["block"]]
    ends += [kept.claimed.last for kept in found.collectors]
    found.last_seq = max([last_given, int(noted.get("last_seq", 0)), *ends])
    with contextlib.suppress(msgspec.MsgspecError):
        found.jobs = read_jobs(noted.get("salvage"))
    return found


def _read_whole(path: Path, statements: str, at_rest: AtRest, found: Found, heads: list[Row]) -> None:
    """The batches under way and the newest of each collector, with all keys and marks."""
    newest: dict[int, int] = defaultdict(int)
    for row in heads:
        newest[row.values[0]] = max(newest[row.values[0]], row.values[1])
    wanted = {
        row.rowid for row in heads if row.values[5] == PENDING or row.values[1] == newest[row.values[0]]
    }
    with Salvage(
        path,
        statements,
        is_sound=lambda table, values: table != "batch" or is_sound_batch(values),
        is_wanted=lambda table, rowid: table != "batch" or rowid in wanted,
        with_last=True,
    ) as salvage:
        rows = {name: [row.values for rows in salvage.table(name) for row in rows] for name in _WHOLE_TABLES}
    found.marks = opened_marks(((name.encode(), value) for name, value in rows["mark"]), at_rest)
    keys = [row for row in rows["content_key"] if _is_sound_key(row)]
    for kept in found.collectors:
        kept.keys = [row for row in keys if row[0] == kept.id]
        known = {row[1] for row in kept.keys}
        kept.batches = sorted(row for row in rows["batch"] if row[0] == kept.id and row[8] in known)
    if len(wanted) != sum(len(kept.batches) for kept in found.collectors):
        found.is_whole = False
        for kept in found.collectors:
            lost = {_span(row.values) for row in heads if row.rowid in wanted and row.values[0] == kept.id}
            for span in lost - {_span(row) for row in kept.batches}:
                kept.in_batches = kept.in_batches.minus(*span)


def read_jobs(value: Any) -> list[Job]:
    """What the row of `meta` holds; none without one. Raise msgspec.MsgspecError."""
    return [] if value is None else msgspec.msgpack.decode(value, type=list[Job])


def is_sound_batch(row: Sequence[Any]) -> bool:
    """Whether a row of `batch` has the envelope that it says it has."""
    _, number, first_seq, count, _, state, _, _, key_id, digest, _, body = row
    if state == _WITHDRAWN:
        return not body
    if not is_intact(body, digest):
        return False
    header = read_header(body)
    return (header.number, header.first_seq, header.count, header.key_id) == (
        number,
        first_seq,
        count,
        key_id,
    )


def _is_sound_key(row: Sequence[Any]) -> bool:
    with contextlib.suppress(EnvelopeRefused):
        return package_key_id(row[3]) == bytes(row[1])
    return False


def _span(batch: Sequence[Any]) -> tuple[int, int]:
    return batch[2], batch[2] + batch[3] - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of the file; of batches and refused items all columns."""

    blocks: list[FoundBlock] = field(default_factory=list)
    batches: list[Values] = field(default_factory=list)
    refused: list[Values] = field(default_factory=list)


class Pieces:
    """The blocks, delivered batches and refused items of the file, a little at a time. Close it when done."""

    def __init__(self, path: Path, statements: str, at_rest: AtRest, *, brought: Spans) -> None:
        """Without the blocks that are `brought` already. Raise OSError when the file cannot be opened."""
        self._at_rest = at_rest
        self._salvage = Salvage(
            path,
            statements,
            is_sound=self._is_sound,
            is_wanted=lambda table, rowid: table != "block" or brought.at(rowid or 0) is None,
            with_last=True,
        )
        self._steps = self._all_steps()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lost(self) -> Spans:
        """First numbers of blocks that are broken, or that nothing leads to."""
        return Spans((max(low + 1, 1), high) for low, high in self._salvage.lost("block"))

    @property
    def pages(self) -> tuple[int, int]:
        """How many there are, and how many of them are broken as far as was read."""
        return self._salvage.report.pages, len(self._salvage.report.broken_pages)

    def next(self, most_bytes: int) -> Piece | None:
        """More rows, of about that many bytes; None when there are no more."""
        piece, size = Piece(), 0
        for rows in self._steps:
            for row in rows:
                size += sum(len(value) for value in row.values if isinstance(value, bytes))
                self._sort(row, piece)
            if size >= most_bytes:
                return piece
        return piece if size else None

    def _sort(self, row: Row, piece: Piece) -> None:
        is_certain = row.via is not Via.DOUBTFUL
        match row.table:
            case "block":
                block = _stored(row.values)
                items = block.items(self._at_rest)
                piece.blocks.append(
                    FoundBlock(block.first_seq, block.stored_ms, block.thinned, items, is_certain)
                )
            case "batch" if is_certain:
                piece.batches.append(row.values)
            case "refused" if is_certain:
                piece.refused.append(row.values)

    def close(self) -> None:
        """Safe to call twice."""
        self._steps.close()
        self._salvage.close()

    def _all_steps(self) -> Generator[list[Row]]:
        for name in ("block", "batch", "refused"):
            yield from self._salvage.table(name)
        yield from self._salvage.orphans()

    def _is_sound(self, table: str, values: Sequence[Value]) -> bool:
        match table:
            case "block":
                try:
                    _stored(values).items(self._at_rest)
                except BlockDamaged:
                    return False
                return True
            case "batch":
                return is_sound_batch(values)
            case "refused":
                return self._opens(values[6], values[2])
        return True

    def _opens(self, sealed: Value, seq: Value) -> bool:
        try:
            self._at_rest.open(sealed, table="refused", name=seq)  # type: ignore[arg-type]  # of a strict table
        except RowDamaged:
            return False
        return True


def _stored(values: Sequence[Any]) -> StoredBlock:
    first_seq, count, _, holes, stored_ms, thinned, data = values
    return StoredBlock(first_seq, count, holes, stored_ms, thinned, data)
