"""Puts the readings of a batch into their tables, with the newest of each point and the hours touched."""

import sqlite3
from functools import cache
from itertools import chain

from collector.intake.rows import Rows
from collector.intake.sequence import Epoch

_CHUNKS = (256, 64, 16, 4, 1)
# Rows in one statement. Fewer cost a step each, in which other threads take the interpreter away; more cost
# SQLite time to find its way in so long a statement. Measured: 256 is half as fast again as 1 and as 4096.


def store_readings(
    connection: sqlite3.Connection, epoch: Epoch, points: list[int], rows: Rows, now_ms: int
) -> None:
    """`points` gives the number of each series."""
    numbers = [points[index] for index in rows.series_index]
    at, total = 0, len(numbers)
    while at < total:
        end = at + next(size for size in _CHUNKS if size <= total - at)
        part = slice(at, end)
        values = chain.from_iterable(
            zip(
                numbers[part],
                rows.measured_ms[part],
                rows.received_ms[part],
                rows.value[part],
                rows.quality[part],
                rows.reason[part],
                rows.seq[part],
                strict=True,
            )
        )
        stored = connection.execute(_insert(end - at), (epoch.site_id, epoch.id, *values)).rowcount
        if stored < end - at:
            _store_revisions(connection, epoch, numbers, rows, range(at, end))
        at = end
    _store_latest(connection, epoch, points, rows, now_ms)
    connection.executemany(
        "INSERT INTO dirty_hour (site_id, point_id, hour_ms, marked_no) VALUES (?, ?, ?, 1) "
        "ON CONFLICT DO UPDATE SET marked_no = marked_no + 1",
        [(epoch.site_id, points[index], hour_ms) for index, hour_ms in sorted(rows.hours)],
    )


@cache
def _insert(count: int) -> str:
    # Site and epoch are bound once, as 1 and 2; each row has seven values of its own.
    rows = ", ".join(
        "(?1, " + "".join(f"?{n}, " for n in range(first, first + 6)) + f"?2, ?{first + 6})"
        for first in range(3, 3 + 7 * count, 7)
    )
    return (  # `rows` is numbered question marks
        "INSERT OR IGNORE INTO reading (site_id, point_id, measured_ms, received_ms, value, quality, reason, "  # noqa: S608
        f"epoch_id, seq) VALUES {rows}"
    )


def _store_revisions(
    connection: sqlite3.Connection, epoch: Epoch, numbers: list[int], rows: Rows, part: range
) -> None:
    """Some of these readings were there already. Keep those that say something else."""
    for i in part:
        key = (epoch.site_id, numbers[i], rows.measured_ms[i])
        *said, epoch_id, seq = connection.execute(
            "SELECT value, quality, reason, epoch_id, seq FROM reading "
            "WHERE site_id = ? AND point_id = ? AND measured_ms = ?",
            key,
        ).fetchone()
        says = [rows.value[i], rows.quality[i], rows.reason[i]]
        if (epoch_id, seq) != (epoch.id, rows.seq[i]) and said != says:
            connection.execute(
                "INSERT INTO reading_revision (site_id, point_id, measured_ms, epoch_id, seq, received_ms, "
                "value, quality, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, epoch.id, rows.seq[i], rows.received_ms[i], *says),
            )


def _store_latest(
    connection: sqlite3.Connection, epoch: Epoch, points: list[int], rows: Rows, now_ms: int
) -> None:
    connection.executemany(
        "INSERT INTO latest (site_id, point_id, measured_ms, received_ms, value, quality, reason, stored_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET measured_ms = excluded.measured_ms, received_ms = excluded.received_ms, "
        "value = excluded.value, quality = excluded.quality, reason = excluded.reason, "
        "stored_ms = excluded.stored_ms WHERE excluded.measured_ms > latest.measured_ms",
        [
            (
                epoch.site_id,
                points[index],
                rows.measured_ms[i],
                rows.received_ms[i],
                rows.value[i],
                rows.quality[i],
                rows.reason[i],
                now_ms,
            )
            for index, i in rows.newest.items()
        ],
    )
