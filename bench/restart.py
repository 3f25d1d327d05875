"""How soon a gateway that was away for weeks takes readings again: its buffer holds ten million.

Opened by a process of its own, as after a loss of power; until the first reading is on disk.
"""

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.appends import ON_DISK
from bench.polled import CLOCK
from demo.processes import Part, module
from edge_agent.buffer.sqlite import SqliteBuffer
from models.at_rest import AtRest
from models.reading import Item, Reading

PENDING: Final = 10_000_000
_AT_ONCE: Final = 4000  # readings in a block
_AT_REST: Final = AtRest(bytes(range(32)), purpose="buffer")


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds from the start of opening."""

    opened_s: float
    stored_s: float  # until the first reading is on disk
    bytes_mb: float


async def measure() -> Result:
    """Runs about a minute, most of it to fill the buffer."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir=ON_DISK) as name:
        file = Path(name) / "buffer.db"
        await _fill(file)
        size = await asyncio.to_thread(lambda: sum(part.stat().st_size for part in file.parent.iterdir()))
        opener = Part("opener", module("bench.restart", str(file)), Path(name) / "opener.log")
        await opener.start()
        try:
            told = await opener.first_line()
        finally:
            await opener.stop()
        return Result(told["opened_s"], told["stored_s"], size / (1 << 20))


async def _fill(file: Path) -> None:
    async with await SqliteBuffer.open(file, clock=CLOCK, at_rest=_AT_REST, window_s=0) as buffer:
        await buffer.outbox("main")
        for first in range(0, PENDING, _AT_ONCE):
            await buffer.append(_sweep(first))


def _sweep(first: int) -> list[Item]:
    return [
        Reading(
            device_id=f"meter-{n % 50:02}",
            point=f"p{n % 40}",
            value=float(n),
            measured_ms=1_790_000_000_000 + n,
            received_ms=1_790_000_000_003 + n,
        )
        for n in range(first, first + _AT_ONCE)
    ]


async def _open(file: Path) -> None:
    began_s = time.perf_counter()
    async with await SqliteBuffer.open(file, clock=CLOCK, at_rest=_AT_REST) as buffer:
        await buffer.outbox("main")
        opened_s = time.perf_counter() - began_s
        await buffer.append(_sweep(PENDING)[:1])
        sys.stdout.write(json.dumps({"opened_s": opened_s, "stored_s": time.perf_counter() - began_s}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_open(Path(sys.argv[1])))
