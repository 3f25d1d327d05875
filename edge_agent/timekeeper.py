"""The gateway's own time: nothing that is stored is stamped by a clock that may be wrong.

Time is the machine's monotonic clock plus an offset that is only taken from who can be trusted: the system
clock while a time service keeps it, else the collector, else somebody at the gateway who has compared the
system clock with a watch. After any jump of a system clock that nobody keeps,
the monotonic clock goes on alone. Until the first offset is known times are provisional, see
`edge_agent.boots`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import msgspec

from edge_agent.boots import PROVISIONAL_END_MS, Boots
from models.reading import GATEWAY, Event
from models.times import Clock, utc_text

LOOK_EVERY_S: Final = 10.0
WORTH_TELLING_MS: Final = 1000
SLEW_MS: Final = 20
"""A time service turns the clock by less than this between two looks; so much need not be noted each time."""

LOOKS_AT_MOST: Final = 5
"""How often the two clocks are looked at again when the process was held up between them."""

ROUND_TRIP_LIMIT_MS: Final = 2000
"""A collector's answer that took longer says too little about when it was given."""

Keep = Callable[[Mapping[str, str]], Awaitable[None]]
Source = Literal["", "system", "collector", "person", "earlier"]

_log = logging.getLogger(__name__)


async def _nowhere(marks: Mapping[str, str]) -> None:
    """For a timekeeper that has not begun."""


class Timekeeper:
    """One for a running agent. `clock` is what everything else in it is handed."""

    def __init__(
        self, system: Clock, *, is_synchronised: Callable[[], bool] = lambda: True, boot_id: str = ""
    ) -> None:
        self._system, self._is_synchronised, self._boot_id = system, is_synchronised, boot_id
        self.boots = Boots({}, boot_id)
        self._keep: Keep = _nowhere
        self._offset_ms: int | None = None
        self.source: Source = ""
        self.clock = Clock(now_ms=self.now_ms, monotonic_s=system.monotonic_s, sleep=system.sleep)

    async def begin(self, marks: Mapping[str, str], keep: Keep) -> None:
        """Take up what is known of earlier boots, and find out the time if the system knows it.

        `marks` are those that begin with `boots.PREFIX`, `keep` stores them. What they say of an offset is
        stored before anything is stamped with it.
        """
        self.boots, self._keep = Boots(marks, self._boot_id), keep
        self._offset_ms = self.boots.current.offset_ms  # what an earlier process of this boot has learned
        self.source = "" if self._offset_ms is None else "earlier"
        await self.look()
        if self._offset_ms is None:
            await self._keep(self.boots.still_up(self._since_boot_ms()))

    @property
    def is_set(self) -> bool:
        """Whether the time is known."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """Milliseconds since 1970, or provisional."""
        since_boot_ms = self._since_boot_ms()
        if self._offset_ms is None:
            return self.boots.current.provisional_ms(since_boot_ms)
        return since_boot_ms + self._offset_ms

    def real_ms(self, ms: int) -> int:
        """What to show people of a time that may be provisional; it stays so while nobody knows better."""
        settled_ms = self.boots.settled_ms(ms)
        return ms if settled_ms is None else settled_ms

    async def look(self) -> list[Event]:
        """Follow the system clock if a time service keeps it; events tell of what people should know."""
        if not self._is_synchronised():
            return []
        offset_ms, unsure_ms = self._system_offset()
        return await self._take(offset_ms, "system", tolerance_ms=SLEW_MS + unsure_ms)

    async def told(self, collector_ms: int, *, asked_s: float) -> list[Event]:
        """What the collector's clock showed between `asked_s` (of the monotonic clock) and now.

        Counts for nothing while a time service keeps the system clock, and when the answer took too long.
        """
        since_boot_ms = self._since_boot_ms()
        round_trip_ms = since_boot_ms - round(asked_s * 1000)
        if (
            self._is_synchronised()
            or round_trip_ms > ROUND_TRIP_LIMIT_MS
            or collector_ms < PROVISIONAL_END_MS
        ):
            return []
        offset_ms = collector_ms - (since_boot_ms - round_trip_ms // 2)
        # Where in the round trip it looked at its clock is not known.
        return await self._take(offset_ms, "collector", tolerance_ms=round_trip_ms // 2 + 50)

    async def confirmed(self, by: str) -> list[Event]:
        """Somebody at the gateway says that the system clock is right; it counts for this once.

        Counts for nothing while a time service keeps that clock.
        """
        if self._is_synchronised():
            return []
        offset_ms, unsure_ms = self._system_offset()
        events = await self._take(offset_ms, "person", tolerance_ms=SLEW_MS + unsure_ms)
        return [msgspec.structs.replace(event, data={**event.data, "by": by}) for event in events]

    async def run(self, put: Callable[[list[Event]], Awaitable[None]]) -> None:
        """Look again and again. Runs for ever."""
        while True:
            if events := await self.look():
                await put(events)
            if self._offset_ms is None:
                await self._keep(self.boots.still_up(self._since_boot_ms()))
            await self._system.sleep(LOOK_EVERY_S)

    def _system_offset(self) -> tuple[int, int]:
        """System clock minus monotonic clock, and by how much that may be wrong either way, in ms.

        They cannot be looked at in one moment, and a process may be held up between them for long.
        """
        best = self._compared()
        for _ in range(LOOKS_AT_MOST - 1):
            if best[1] <= 1:
                break
            best = min(best, self._compared(), key=lambda one: one[1])
        return best

    def _compared(self) -> tuple[int, int]:
        before_ms = self._since_boot_ms()
        shown_ms = self._system.now_ms()
        took_ms = self._since_boot_ms() - before_ms
        return shown_ms - before_ms - took_ms // 2, (took_ms + 1) // 2

    async def _take(self, offset_ms: int, source: Source, *, tolerance_ms: int) -> list[Event]:
        before_ms, self.source = self._offset_ms, source
        if before_ms is not None and abs(offset_ms - before_ms) <= tolerance_ms:
            return []
        await self._keep(self.boots.with_time(offset_ms))
        self._offset_ms = offset_ms
        if before_ms is not None and abs(offset_ms - before_ms) < WORTH_TELLING_MS:
            return []
        kind = "clock.set" if before_ms is None else "clock.stepped"
        _log.warning("the time is now %s, from the %s", utc_text(self.now_ms()), source)
        facts: dict[str, object] = {"source": source}
        if before_ms is not None:
            facts["by_ms"] = offset_ms - before_ms
        now_ms = self.now_ms()
        return [Event(device_id=GATEWAY, kind=kind, data=facts, measured_ms=now_ms, received_ms=now_ms)]

    def _since_boot_ms(self) -> int:
        return round(self._system.monotonic_s() * 1000)
