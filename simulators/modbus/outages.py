"""When an endpoint is away: reboots and refused connections, by the clock or begun by a request."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from models.times import Clock
from simulators.faults import ActiveFault, Fault, FaultSet


class Go(Protocol):
    """Stop listening; `breaks`: and break the open connections."""

    def __call__(self, *, breaks: bool) -> None: ...


class Outages:
    """Calls `go` while there is an outage and `come` while there is none; both may be called again."""

    def __init__(
        self, fault_sets: Sequence[FaultSet], clock: Clock, *, go: Go, come: Callable[[], Awaitable[None]]
    ) -> None:
        self._fault_sets, self._clock, self._go, self._come = fault_sets, clock, go, come
        self._until_ms = 0.0  # of an outage that a request began
        self._begun: set[ActiveFault] = set()
        self._changed = asyncio.Event()
        for fault_set in fault_sets:
            fault_set.changed = self._changed.set

    def strike(self, fault: Fault) -> None:
        """A request has begun an outage."""
        self._until_ms = max(self._until_ms, self._clock.now_ms() + fault.outage_ms)
        self._go(breaks=fault.kind == "reboot")
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            now_ms = self._clock.now_ms()
            planned = [active for faults in self._fault_sets for active in faults.scheduled()]
            under_way = [a for a in planned if a.start_ms <= now_ms < _end_ms(a)]
            for active in under_way:
                self._go(breaks=active.fault.kind == "reboot" and active not in self._begun)
                self._begun.add(active)
            if now_ms < self._until_ms:
                self._go(breaks=False)
            elif not under_way:
                await self._come()
            turns = [self._until_ms, *(turn for a in planned for turn in (a.start_ms, _end_ms(a)))]
            await self._wait_for(min((turn for turn in turns if turn > now_ms), default=math.inf), now_ms)

    async def _wait_for(self, turn_ms: float, now_ms: int) -> None:
        """Until then, or until the faults are others."""
        if turn_ms == math.inf:
            await self._changed.wait()
            return
        waits = [
            asyncio.ensure_future(self._changed.wait()),
            asyncio.ensure_future(self._clock.sleep((turn_ms - now_ms) / 1000)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _end_ms(active: ActiveFault) -> float:
    return math.inf if active.outage_end_ms is None else active.outage_end_ms
