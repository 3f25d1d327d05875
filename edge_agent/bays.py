"""Follows what readings say of parking bays, whatever bus they come from, and tells each change as an event.

It stands before the buffer: a change is stored in the same step as the reading that it follows from, together
with the bay as it then is. So no change is told twice or forgotten, and a restart goes on from there.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from drivers.contract import Sink
from models.errors import RetryLater
from models.parking import AT_ONCE, Bay, BayState, Debounce, bay_of
from models.reading import Event, Item, Quality, Reading, Reason
from models.times import Clock

BAY_CHANGED: Final = "bay.changed"
BATTERY: Final = "battery_pct"

REMEMBER_EVERY_MS: Final = 60_000
"""When only the time of the last word is new, it is written down no more often than this: flash wears out."""

ROUNDING_S: Final = 0.01  # times are in whole milliseconds: who says "silent for so long" is not called early

Key = tuple[str, str]  # device and point


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One bay as it is configured."""

    device_id: str
    point: str
    source: str  # the profile that it is told by
    limit_s: float  # after so long without a word it is unknown
    zone: str | None = None
    debounce: Debounce = AT_ONCE


class Known(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is remembered of the bays of one device."""

    bays: dict[str, Bay] = {}  # by point
    battery_pct: float | None = None


class Bays:
    """A `Sink` that lets everything through, and adds what has changed."""

    def __init__(self, sink: Sink, watched: Iterable[Watched], clock: Clock) -> None:
        self._sink, self._clock = sink, clock
        self._watched: dict[Key, Watched] = {}
        self._devices: set[str] = set()
        self._known: dict[str, Known] = {}
        self._marked: dict[str, Known] = {}
        self._fresh_until_s: dict[Key, float] = {}
        self._restoring = asyncio.Lock()
        self._news: list[asyncio.Event] = []
        self.watch(watched)

    def watch(self, watched: Iterable[Watched]) -> None:
        """Follow these bays from now on, and no others. What is known of those that stay is kept."""
        self._watched = {(bay.device_id, bay.point): bay for bay in watched}
        self._devices = {bay.device_id for bay in self._watched.values()}
        for device_id in self._known.keys() - self._devices:
            del self._known[device_id], self._marked[device_id]
        for news in self._news:
            news.set()

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        """See `Sink`."""
        if not self._ours(items) or not await self._restored():
            await self._sink.put(items, marks)
            return
        ours = self._ours(items)  # what is watched may have changed
        step = _Step(self._known)
        for reading in ours:
            if reading.point == BATTERY and reading.value is not None:
                step.known(reading.device_id).battery_pct = reading.value
        for reading in ours:
            bay = self._watched.get((reading.device_id, reading.point))
            if bay is not None:
                self._follow(bay, reading, step)
        worth = [
            name for name, known in step.after.items() if _is_worth_a_mark(self._marked.get(name), known)
        ]
        remembered = {_mark(name): msgspec.json.encode(step.after[name]).decode() for name in worth}
        await self._sink.put([*items, *step.events], {**(marks or {}), **remembered})
        self._known.update(step.after)
        self._marked.update({name: step.after[name] for name in worth})
        self._fresh_until_s.update(step.fresh_until_s)
        if step.events:
            for news in self._news:
                news.set()

    def _ours(self, items: Sequence[Item]) -> list[Reading]:
        if not self._devices:
            return []
        return [item for item in items if isinstance(item, Reading) and item.device_id in self._devices]

    async def marks(self, prefix: str) -> dict[str, str]:
        """See `Sink`."""
        return await self._sink.marks(prefix)

    def news(self) -> asyncio.Event:
        """One of your own, which is set whenever a bay is another than before, until `no_news`."""
        self._news.append(asyncio.Event())
        return self._news[-1]

    def no_news(self, news: asyncio.Event) -> None:
        """Nobody waits for it any more."""
        self._news.remove(news)

    async def states_of(self, zone: str) -> list[BayState]:
        """Of each bay of a zone, now. One whose time has run out is unknown, whether or not it was told."""
        if not await self._restored():
            return [BayState.UNKNOWN for bay in self._watched.values() if bay.zone == zone]
        return [self._state(key) for key, bay in self._watched.items() if bay.zone == zone]

    def _state(self, key: Key) -> BayState:
        device_id, point = key
        known = self._known.get(device_id)
        if known is None or point not in known.bays or self._is_stale(key, self._fresh_until_s):
            return BayState.UNKNOWN
        return known.bays[point].state

    def _is_stale(self, key: Key, fresh_until_s: Mapping[Key, float]) -> bool:
        return self._clock.monotonic_s() + ROUNDING_S >= fresh_until_s.get(key, 0.0)

    def _follow(self, watched: Watched, reading: Reading, step: "_Step") -> None:
        key = (watched.device_id, watched.point)
        known = step.known(watched.device_id)
        before = known.bays.get(watched.point, Bay())
        seen = _seen(reading)
        if seen is not None:
            after = before.observed(
                seen,
                reading.measured_ms,
                reading.received_ms,
                confidence=0.5 if reading.quality is Quality.SUSPECT else 1.0,
                debounce=watched.debounce,
            )
            if after is before:
                return
            step.fresh_until_s[key] = self._fresh_until(watched, reading.measured_ms)
        elif self._is_stale(key, self._fresh_until_s | step.fresh_until_s):
            after = before.lost(reading.measured_ms)
        else:
            return  # one word was missed, and the next may come
        known.bays[watched.point] = after
        if after.state is not before.state:
            step.events.append(_changed(watched, before, after, known.battery_pct, reading))

    def _fresh_until(self, watched: Watched, measured_ms: int) -> float:
        """By the monotonic clock, for the other one may jump; at most a whole limit from now."""
        age_s = max(0.0, (self._clock.now_ms() - measured_ms) / 1000)
        return self._clock.monotonic_s() + watched.limit_s - age_s

    async def _restored(self) -> bool:
        """Whether what was remembered is here; while the disk does not even read, bays are not followed."""
        async with self._restoring:
            if self._devices <= self._known.keys():
                return True
            try:
                marks = await self._sink.marks("parking/")
            except RetryLater:
                return False
            new = self._devices - self._known.keys()
            for device_id in new:
                self._known[device_id] = self._marked[device_id] = _read(marks.get(_mark(device_id)))
            for key, watched in self._watched.items():
                bay = self._known[watched.device_id].bays.get(watched.point)
                if watched.device_id in new and bay is not None and bay.measured_ms is not None:
                    self._fresh_until_s[key] = self._fresh_until(watched, bay.measured_ms)
            return True


@dataclass(slots=True)
class _Step:
    """What follows from one `put`, until it is stored."""

    before: Mapping[str, Known]
    after: dict[str, Known] = field(default_factory=dict)
    fresh_until_s: dict[Key, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def known(self, device_id: str) -> Known:
        """A copy that may be changed."""
        if device_id not in self.after:
            known = self.before[device_id]
            self.after[device_id] = Known(bays=dict(known.bays), battery_pct=known.battery_pct)
        return self.after[device_id]


def _seen(reading: Reading) -> BayState | None:
    """What a reading says of its bay; None: nothing."""
    if reading.value is not None:
        return BayState.OCCUPIED if reading.value else BayState.FREE
    return BayState.OUT_OF_SERVICE if reading.reason is Reason.NOT_AVAILABLE else None


def _changed(watched: Watched, before: Bay, after: Bay, battery_pct: float | None, by: Reading) -> Event:
    data: dict[str, Any] = {
        "bay": bay_of(watched.point) or watched.device_id,
        "state": after.state.value,
        "was": before.state.value,
        "since_ms": after.since_ms,
        "confidence": after.confidence,
        "source": watched.source,
        "battery_pct": battery_pct,
        "zone": watched.zone,
    }
    return Event(
        device_id=watched.device_id,
        kind=BAY_CHANGED,
        data=data,
        measured_ms=by.measured_ms,
        received_ms=by.received_ms,
    )


def _is_worth_a_mark(marked: Known | None, known: Known) -> bool:
    if marked is None or marked.battery_pct != known.battery_pct or marked.bays.keys() != known.bays.keys():
        return True
    return any(_is_news(marked.bays[point], bay) for point, bay in known.bays.items())


def _is_news(marked: Bay, bay: Bay) -> bool:
    if (marked.state, marked.since_ms, marked.turning) != (bay.state, bay.since_ms, bay.turning):
        return True
    passed_ms = abs((bay.received_ms or 0) - (marked.received_ms or 0))
    return passed_ms >= REMEMBER_EVERY_MS


def _mark(device_id: str) -> str:
    return f"parking/{device_id}/bays"


def _read(mark: str | None) -> Known:
    """Nothing, for a mark that is not there or that nobody can read."""
    try:
        return Known() if mark is None else msgspec.json.decode(mark, type=Known)
    except msgspec.MsgspecError:
        return Known()
