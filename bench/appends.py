"""What a durable append costs the buffer, beside bare sqlite3 that writes a row for each reading.

Both commit after each sweep of `SWEEP` readings, with WAL and `synchronous=FULL`, on the same disk, in turns.
"""

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from edge_agent.buffer.sqlite import SqliteBuffer
from models.at_rest import AtRest
from models.reading import Item, Reading
from models.times import Clock

SWEEP: Final = 200
SWEEPS: Final = 250
ROUNDS: Final = 5
ON_DISK: Final = "/var/tmp"  # noqa: S108  # unlike /tmp never in memory; the folder in it is ours alone

_CLOCK = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)
_TABLE = """
CREATE TABLE reading (
    seq INTEGER PRIMARY KEY, device TEXT NOT NULL, point TEXT NOT NULL, value REAL, quality INTEGER NOT NULL,
    reason INTEGER NOT NULL, measured_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL
) STRICT
"""
_INSERT = (
    "INSERT INTO reading (device, point, value, quality, reason, measured_ms, received_ms) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of the rounds."""

    buffer_per_s: float  # readings that are durable, each second
    bare_per_s: float

    @property
    def ratio(self) -> float:
        return self.buffer_per_s / self.bare_per_s


def measure() -> Result:
    """Runs about half a minute, by the disk."""
    items = _readings()
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir=ON_DISK) as name:
            ours, bare = Path(name) / "ours", Path(name) / "bare"
            ours.mkdir()
            bare.mkdir()
            rounds.append((asyncio.run(_buffer(ours, items)), _bare(bare, items)))
    buffer_per_s, bare_per_s = (median(column) for column in zip(*rounds, strict=True))
    return Result(buffer_per_s, bare_per_s)


async def _buffer(folder: Path, items: list[Item]) -> float:
    at_rest = AtRest(bytes(range(32)), purpose="buffer")
    async with await SqliteBuffer.open(
        folder / "buffer.db", clock=_CLOCK, at_rest=at_rest, window_s=0
    ) as buffer:
        await buffer.outbox("main")
        began_s = time.perf_counter()
        for sweep in _sweeps(items):
            await buffer.append(sweep)
        return len(items) / (time.perf_counter() - began_s)


def _bare(folder: Path, items: list[Item]) -> float:
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        began_s = time.perf_counter()
        for sweep in _sweeps(items):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, [_row(item) for item in sweep])
            connection.execute("COMMIT")
        return len(items) / (time.perf_counter() - began_s)


def _row(item: Item) -> tuple[object, ...]:
    assert isinstance(item, Reading)
    return (
        item.device_id, item.point, item.value, item.quality, item.reason, item.measured_ms, item.received_ms
    )  # fmt: skip


def _readings() -> list[Item]:
    rng = random.Random(1)
    return [
        Reading(
            device_id=f"meter-{n % SWEEP // 20:02}",
            point=f"p{n % 20}",
            value=round(rng.gauss(230, 1), 1),
            measured_ms=1_790_000_000_000 + n // SWEEP * 1000,
            received_ms=1_790_000_000_003 + n // SWEEP * 1000,
        )
        for n in range(SWEEP * SWEEPS)
    ]


def _sweeps(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), SWEEP):
        yield items[start : start + SWEEP]
