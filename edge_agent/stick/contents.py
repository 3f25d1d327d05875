"""What is to be carried to one collector, read from the buffer's file while an agent may be at work on it.

Envelopes are sealed, so no key of the buffer is needed. Each is read by itself, so that a slow stick does not
hold a transaction open, and only one is in memory.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from models.envelope import is_intact
from models.errors import NeedsAHuman
from models.stick import record_bytes

_LOCK_WAIT_S: Final = 30.0
_OVERHEAD: Final = 2000  # bytes: magic, manifest and end


class BufferUnreadable(NeedsAHuman):
    """The file of the buffer cannot be read."""


class Carried(NamedTuple):
    """A batch that is to be carried."""

    number: int
    key_id: bytes
    size: int


class Contents:
    """The batches for one collector that have no receipt, and those that it has lost."""

    def __init__(
        self, connection: sqlite3.Connection, collector: int, again: Sequence[tuple[int, int]]
    ) -> None:
        """For `open_contents` alone."""
        self._connection, self._collector = connection, collector
        self.batches = self._list(again)

    @property
    def size(self) -> int:
        """How much room a file of them takes, in bytes."""
        [(packages,)] = self._connection.execute(
            "SELECT coalesce(max(length(package)), 0) FROM content_key WHERE collector = ?",
            (self._collector,),
        )
        keys = len({batch.key_id for batch in self.batches})
        envelopes = sum(record_bytes(batch.size) for batch in self.batches)
        return _OVERHEAD + keys * record_bytes(packages) + envelopes

    def package(self, key_id: bytes) -> bytes | None:
        """Of a content key; None when it is gone."""
        row = self._connection.execute(
            "SELECT package FROM content_key WHERE collector = ? AND key_id = ?", (self._collector, key_id)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def body(self, number: int) -> bytes | None:
        """The envelope; None when it was withdrawn or damaged meanwhile, so that it is sealed again."""
        row = self._connection.execute(
            "SELECT body, digest FROM batch WHERE collector = ? AND number = ?", (self._collector, number)
        ).fetchone()
        return bytes(row[0]) if row is not None and is_intact(bytes(row[0]), bytes(row[1])) else None

    def _list(self, again: Sequence[tuple[int, int]]) -> list[Carried]:
        columns = "SELECT number, key_id, length(body) FROM batch WHERE collector = ?"
        found = set(self._connection.execute(f"{columns} AND state = 'pending'", (self._collector,)))
        for first, last in again:
            found.update(
                self._connection.execute(
                    f"{columns} AND state = 'delivered' AND first_seq + count > ? AND first_seq <= ?",
                    (self._collector, first, last),
                )
            )
        return sorted(Carried(*row) for row in found)


@contextlib.contextmanager
def open_contents(path: Path, name: str, again: Sequence[tuple[int, int]]) -> Iterator[Contents]:
    """`again` are ranges of item numbers that the collector has lost. Raise BufferUnreadable."""
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", _LOCK_WAIT_S, uri=True, isolation_level=None
            )
        ) as connection:
            row = connection.execute("SELECT id FROM collector WHERE name = ?", (name,)).fetchone()
            yield Contents(connection, -1 if row is None else row[0], again)
    except sqlite3.Error as err:
        raise BufferUnreadable(f"{path}: cannot be read ({err}); what waits stays there, try again") from err
