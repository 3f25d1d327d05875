"""Clocks for the command line: the machine's own, or one that runs faster."""

import asyncio
import time

from models.times import Clock


def clock(*, speed: float = 1.0, start_ms: int | None = None) -> Clock:
    """Starts at `start_ms` (default: the machine's time) and runs `speed` times as fast as real time."""
    began_s = time.monotonic()
    start = time.time() * 1000 if start_ms is None else float(start_ms)

    def elapsed_s() -> float:
        return (time.monotonic() - began_s) * speed

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / speed)

    return Clock(now_ms=lambda: round(start + elapsed_s() * 1000), monotonic_s=elapsed_s, sleep=sleep)
