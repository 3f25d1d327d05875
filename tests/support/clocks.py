"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
import time

from models.times import Clock

START_MS = 1_790_000_000_000  # 2026-09-21T13:33:20Z


class VirtualClock:
    """Time passes in `advance` alone; sleepers wake in the order of their times."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._fell_asleep = asyncio.Event()

    @property
    def clock(self) -> Clock:
        return Clock(now_ms=self.now_ms, monotonic_s=self.monotonic_s, sleep=self.sleep)

    def now_ms(self) -> int:
        return self._start_ms + round(self._now_s * 1000)

    def monotonic_s(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), future))
        self._fell_asleep.set()
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, and with it all that is done in it without waiting for the outside."""
        end_s = self._now_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            self._now_s, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
                await settle()
        self._now_s = end_s
        await settle()

    async def someone_sleeps(self) -> float:
        """Wait, in real time, until a task sleeps; for how long it is going to."""
        while True:
            while self._sleepers and self._sleepers[0][2].done():  # cancelled
                heapq.heappop(self._sleepers)
            if self._sleepers:
                return self._sleepers[0][0] - self._now_s
            self._fell_asleep.clear()
            await self._fell_asleep.wait()


def fast_clock(speed: float, start_ms: int = START_MS) -> Clock:
    """Real time that passes `speed` times as fast, for tests with real sockets."""
    began_s = time.monotonic()

    def monotonic_s() -> float:
        return (time.monotonic() - began_s) * speed

    return Clock(
        now_ms=lambda: start_ms + round(monotonic_s() * 1000),
        monotonic_s=monotonic_s,
        sleep=lambda seconds: asyncio.sleep(max(0.0, seconds / speed)),
    )


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)
