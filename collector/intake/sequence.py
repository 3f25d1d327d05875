"""Knows which sequence numbers of an epoch are stored, and which are still to come.

Kept as ranges that are missing below the greatest number seen: a receipt then costs the same whether a
gateway has sent ten batches or a million, in whatever order.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

MAX_MISSING = 100  # ranges named in one receipt


class NumbersTaken(Exception):
    """Some of the sequence numbers belong to items that are stored already."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of one gateway's store, as the collector has numbered it."""

    site_id: int
    id: int


@dataclass(frozen=True, slots=True)
class Held:
    """What of an epoch is stored."""

    high_water: int
    missing: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Gap:
    first: int
    last: int
    lost: int


def take_numbers(
    connection: sqlite3.Connection,
    epoch: Epoch,
    top_seq: int,
    first: int,
    last: int,
    *,
    begins: bool = False,
) -> None:
    """Note that `first` to `last` are stored now. Raise NumbersTaken if some were; then nothing is noted.

    `begins`: with the first batch of an epoch. What lies before it was never sent under this epoch, so that
    there is no use in asking for it.
    """
    if first > top_seq:
        if first > top_seq + 1:
            _insert(connection, epoch, _Gap(top_seq + 1, first - 1, int(begins)))
        top_seq = last
    else:
        gaps = list(_gaps(connection, epoch, first, last))
        if not gaps or not gaps[0].first <= first <= last <= gaps[-1].last:
            raise NumbersTaken
        if any(after.first != before.last + 1 for before, after in pairwise(gaps)):
            raise NumbersTaken
        left = _Gap(gaps[0].first, first - 1, gaps[0].lost)
        right = _Gap(last + 1, gaps[-1].last, gaps[-1].lost)
        _replace(connection, epoch, gaps, [left, right])
    lowest = connection.execute(
        "SELECT min(first_seq) FROM sequence_gap WHERE site_id = ? AND epoch_id = ?",
        (epoch.site_id, epoch.id),
    ).fetchone()[0]
    connection.execute(
        "UPDATE epoch SET top_seq = ?, high_water = ? WHERE site_id = ? AND id = ?",
        (top_seq, top_seq if lowest is None else lowest - 1, epoch.site_id, epoch.id),
    )


def note_lost(connection: sqlite3.Connection, epoch: Epoch, first: int, last: int) -> None:
    """The gateway has dropped what is missing between these numbers: asking for it is no use.

    Should it come all the same, it is taken.
    """
    for gap in list(_gaps(connection, epoch, first, last)):
        inside = _Gap(max(gap.first, first), min(gap.last, last), 1)
        left = _Gap(gap.first, inside.first - 1, gap.lost)
        right = _Gap(inside.last + 1, gap.last, gap.lost)
        _replace(connection, epoch, [gap], [left, inside, right])


def held(connection: sqlite3.Connection, epoch: Epoch) -> Held:
    [high_water] = connection.execute(
        "SELECT high_water FROM epoch WHERE site_id = ? AND id = ?", (epoch.site_id, epoch.id)
    ).fetchone()
    missing = connection.execute(
        "SELECT first_seq, last_seq FROM sequence_gap WHERE site_id = ? AND epoch_id = ? AND lost = 0 "
        "ORDER BY first_seq LIMIT ?",
        (epoch.site_id, epoch.id, MAX_MISSING),
    ).fetchall()
    return Held(high_water, missing)


def _gaps(connection: sqlite3.Connection, epoch: Epoch, first: int, last: int) -> Iterator[_Gap]:
    """The gaps that have a number in common with `first` to `last`, in order."""
    rows = connection.execute(
        "SELECT first_seq, last_seq, lost FROM sequence_gap "
        "WHERE site_id = ?1 AND epoch_id = ?2 AND first_seq <= ?4 AND last_seq >= ?3 "
        # Gaps do not overlap: none begins before the one that `first` lies in, or the next after it.
        "AND first_seq >= coalesce((SELECT max(first_seq) FROM sequence_gap "
        "WHERE site_id = ?1 AND epoch_id = ?2 AND first_seq <= ?3), ?3) ORDER BY first_seq",
        (epoch.site_id, epoch.id, first, last),
    )
    return (_Gap(*row) for row in rows)


def _replace(connection: sqlite3.Connection, epoch: Epoch, gaps: list[_Gap], parts: list[_Gap]) -> None:
    connection.executemany(
        "DELETE FROM sequence_gap WHERE site_id = ? AND epoch_id = ? AND first_seq = ?",
        [(epoch.site_id, epoch.id, gap.first) for gap in gaps],
    )
    for part in parts:
        if part.first <= part.last:
            _insert(connection, epoch, part)


def _insert(connection: sqlite3.Connection, epoch: Epoch, gap: _Gap) -> None:
    connection.execute(
        "INSERT INTO sequence_gap (site_id, epoch_id, first_seq, last_seq, lost) VALUES (?, ?, ?, ?, ?)",
        (epoch.site_id, epoch.id, gap.first, gap.last, gap.lost),
    )
