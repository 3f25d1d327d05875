"""Takes the events of one controller to the sink: each once, its time set right and its people hidden."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from drivers.access.heard import VendorEvent
from drivers.access.normalise import Site, normalise
from drivers.access.serials import LogPosition, Look, Print
from drivers.contract import Sink
from models.profile.access import AccessProfile
from models.pseudonym import Pseudonymiser
from models.reading import Event, Item
from models.times import Clock

EARLIEST_MS: Final = 1_577_836_800_000
"""2020: no clock that was ever set shows less."""

_UNNUMBERED_KEPT: Final = 64  # events without a serial number, which may arrive by two ways

LOG_GAP, LOG_RESTARTED = "door.log_gap", "door.log_restarted"
CLOCK_WRONG, CLOCK_RIGHT = "device.clock_wrong", "device.clock_right"


class Intake:
    """One controller. `begin` first; then `take` from any task and at any time.

    What is known of an event changes before it is handed to the sink, and the sink keeps the order: so two
    that come at once are not both taken, and a mark is never stored without the events that it speaks of.
    """

    def __init__(
        self, device_id: str, profile: AccessProfile, site: Site, pseudonyms: Pseudonymiser, clock: Clock
    ) -> None:
        self._device_id, self._profile, self._site, self._clock = device_id, profile, site, clock
        self._pseudonyms = pseudonyms
        self._mark = f"access/{device_id}/serial"
        self._sink: Sink | None = None
        self._puts: set[asyncio.Task[None]] = set()
        self._unnumbered: deque[tuple[Print, int | None]] = deque(maxlen=_UNNUMBERED_KEPT)
        self._off_ms = 0  # what its clock shows more than ours, where that is too much
        self.position = LogPosition()
        self.has_log = True  # where there is none, nothing can be asked again
        self.is_sure = False  # that the numbers have not begun again; until then the log alone counts

    async def begin(self, sink: Sink) -> None:
        """Find out what was taken before."""
        self._sink = sink
        self.position = LogPosition.from_text((await sink.marks(self._mark)).get(self._mark, ""))

    async def settle(self) -> None:
        """Wait until all that was taken is stored."""
        while self._puts:
            await asyncio.wait(self._puts)

    async def take(self, events: Sequence[VendorEvent], *, from_log: bool) -> bool:
        """Store those that are new; return once they are. Whether the log must be looked at."""
        look_at_log, items = False, list[Item]()
        for event in events:
            if event.serial is None:
                if not from_log and self._is_unheard(event):
                    items.append(self._made(event, from_log=from_log))
                continue
            if not (from_log or self.is_sure):
                look_at_log = True
                continue
            look = self.position.look(event.serial, event.print)
            if look is Look.OTHER and not (self.has_log or from_log):
                await self.begin_again()
                look = Look.NEW
            if look is Look.NEW and (from_log or not self.position.is_crowded):
                self.position.take(event.serial, event.print)
                items.append(self._made(event, from_log=from_log))
            elif look is not Look.KNOWN:
                look_at_log = True
                self.is_sure = self.is_sure and look is not Look.OTHER
        if items:
            await self._put(items)
        return look_at_log or bool(self.position.holes)

    async def give_up(self, ranges: Sequence[tuple[int, int]], *, why: str) -> None:
        """Note, and tell, that the events with these numbers are lost."""
        for first, last in ranges:
            self.position.give_up(first, last)
        missing = sum(last - first + 1 for first, last in ranges)
        data = {"missing": missing, "from_serial": ranges[0][0], "to_serial": ranges[-1][1], "reason": why}
        await self._put([self._told(LOG_GAP, data)])

    async def forget_older(self, first: int) -> None:
        """What the log had lost before we came is no loss of ours."""
        self.position.give_up(1, first - 1)
        await self._put([])

    async def drop_anchor(self) -> None:
        """The log was read to its end: from now on it is known by the newest event in it."""
        before = self.position.anchor
        self.position.drop_anchor()
        if self.position.anchor != before:
            await self._put([])

    async def begin_again(self) -> None:
        """The controller has begun to number its events anew."""
        last = self.position.highest
        self.position.begin_again()
        await self._put([self._told(LOG_RESTARTED, {"last_serial": last})])

    async def compare_clock(self, device_ms: int) -> None:
        """Its clock shows `device_ms` now."""
        now_ms, tolerance_ms = self._clock.now_ms(), self._profile.isapi.clock_tolerance_s * 1000
        if now_ms < EARLIEST_MS:
            return  # ours is not set: it is no measure for others
        off_ms = device_ms - now_ms
        was_ms, self._off_ms = self._off_ms, off_ms if abs(off_ms) > tolerance_ms else 0
        if abs(self._off_ms - was_ms) > tolerance_ms:
            kind = CLOCK_WRONG if self._off_ms else CLOCK_RIGHT
            await self._put([self._told(kind, {"off_s": round(off_ms / 1000)})])

    def _is_unheard(self, event: VendorEvent) -> bool:
        print_ = (event.print, event.door)
        if print_ in self._unnumbered:
            return False
        self._unnumbered.append(print_)
        return True

    def _made(self, event: VendorEvent, *, from_log: bool) -> Event:
        kind, data = normalise(event, self._profile, self._site, self._pseudonyms)
        if self.position.numbering and event.serial is not None:
            data["numbering"] = self.position.numbering
        now_ms, limits = self._clock.now_ms(), self._profile.isapi
        measured_ms = now_ms if event.at_ms is None else event.at_ms - self._off_ms
        is_dated = event.at_ms is not None and measured_ms >= min(EARLIEST_MS, now_ms)
        if not is_dated or measured_ms > now_ms + limits.clock_tolerance_s * 1000:
            measured_ms = now_ms
        if event.at_ms not in (None, measured_ms):
            data["device_ms"] = event.at_ms  # what its clock said, which was not taken for the time
        is_old = now_ms - measured_ms > limits.history_after_s * 1000 or (from_log and not is_dated)
        if event.is_current is False or is_old:
            data["history"] = True
        return self._event(kind, data, measured_ms, now_ms)

    def _told(self, kind: str, data: dict[str, Any]) -> Event:
        if self.position.numbering:
            data["numbering"] = self.position.numbering
        now_ms = self._clock.now_ms()
        return self._event(kind, data, now_ms, now_ms)

    def _event(self, kind: str, data: dict[str, Any], measured_ms: int, received_ms: int) -> Event:
        return Event(
            device_id=self._device_id, kind=kind, data=data, measured_ms=measured_ms, received_ms=received_ms
        )

    async def _put(self, items: list[Item]) -> None:
        """Once begun it is never given up, for its events count as taken from now on."""
        assert self._sink is not None, "begin comes first"  # noqa: S101
        put = asyncio.create_task(
            self._sink.put(items, {self._mark: self.position.text()}), name="door events"
        )
        self._puts.add(put)
        put.add_done_callback(self._puts.discard)
        await asyncio.shield(put)
