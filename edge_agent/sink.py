"""Takes readings and events to the buffer, and keeps them in memory while the disk refuses."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_agent.buffer.blocks import chunks_of
from edge_agent.buffer.contract import Buffer, BufferUnavailable
from edge_agent.buffer.marks import checked
from models.reading import GATEWAY, Event, Item, Reading
from models.times import Clock

MOST_HELD: Final = 10_000
"""Readings and events that memory keeps for a disk that refuses: 3 MB."""

RETRY_S: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lost:
    """What is lost for good and not yet told."""

    readings: int = 0
    events: int = 0
    from_ms: int = sys.maxsize
    to_ms: int = -sys.maxsize

    def note(self, item: Item) -> None:
        if item.__class__ is Reading:
            self.readings += 1
        else:
            self.events += 1
        self.from_ms, self.to_ms = min(self.from_ms, item.measured_ms), max(self.to_ms, item.measured_ms)

    def and_then(self, later: "_Lost") -> "_Lost":
        return _Lost(
            self.readings + later.readings,
            self.events + later.events,
            min(self.from_ms, later.from_ms),
            max(self.to_ms, later.to_ms),
        )

    def told(self, now_ms: int) -> list[Event]:
        if not self.readings + self.events:
            return []
        facts = {"reason": "disk-refused", "readings": self.readings, "events": self.events}
        facts |= {"from_ms": self.from_ms, "to_ms": self.to_ms}
        return [
            Event(device_id=GATEWAY, kind="buffer.gap", data=facts, measured_ms=now_ms, received_ms=now_ms)
        ]


class BufferSink:
    """See `drivers.contract.Sink`. What memory cannot hold either is lost, and an event will tell of it."""

    def __init__(self, buffer: Buffer, clock: Clock) -> None:
        self._buffer, self._clock = buffer, clock
        self._held: deque[Item] = deque()
        self._held_events: deque[Item] = deque()  # apart, for they are given up last
        self._held_marks: dict[str, str] = {}  # stored together with what is held, never before it
        self._under_way = 0  # items on their way from memory to the disk
        self._lost = _Lost()
        self._something_held = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.lost_total = 0

    @property
    def held(self) -> int:
        """How many items wait in memory for the disk."""
        return len(self._held) + len(self._held_events) + self._under_way

    @property
    def _is_behind(self) -> bool:
        return bool(self.held or self._held_marks)

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        if self._is_behind or self._flushing.locked():  # nothing may overtake what was there before
            self._hold(items, marks or {})
            return
        try:
            await self._buffer.append(items, marks)
        except BufferUnavailable as err:
            if not self._is_behind:
                _log.error("the disk refuses readings; up to %d stay in memory: %s", MOST_HELD, err)
            self._hold(items, marks or {})

    async def marks(self, prefix: str) -> dict[str, str]:
        """What is stored, with what is held on top of it. Raise BufferUnavailable when it cannot be read."""
        held: dict[str, str] | None = None
        while held != self._held_marks:  # until none went to the disk while the disk was read
            held = dict(self._held_marks)
            stored = await self._buffer.marks(prefix)
        both = stored | self._held_marks
        return {name: value for name, value in both.items() if value and name.startswith(prefix)}

    async def keep_trying(self) -> None:
        """Bring what is held to the disk as soon as that works again. Runs for ever."""
        while True:
            await self._something_held.wait()
            await self._clock.sleep(RETRY_S)
            await self.flush()

    async def flush(self) -> None:
        """Try once to bring to the disk what is held. Goes on when the caller is cancelled.

        For only the outcome tells what is still held; the next call waits for it.
        """
        await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._flushing:
            while self._is_behind:
                held, marks, lost = [*self._held_events, *self._held], dict(self._held_marks), self._lost
                self._held.clear()
                self._held_events.clear()
                self._lost, self._under_way = _Lost(), len(held)
                try:
                    await self._buffer.append([*lost.told(self._clock.now_ms()), *held], marks)
                except BufferUnavailable:
                    self._under_way = 0
                    self._lost = lost.and_then(self._lost)
                    self._hold_before(held)
                    return
                self._under_way = 0
                for name, value in marks.items():
                    if self._held_marks[name] == value:
                        del self._held_marks[name]
            if self._something_held.is_set():
                self._something_held.clear()
                _log.warning("the disk takes readings again")

    def _hold(self, items: Sequence[Item], marks: Mapping[str, str]) -> None:
        chunks_of(items)  # what could not be stored must fail here, and not take along what is held with it
        self._held_marks.update(checked(marks))
        for item in items:
            (self._held if item.__class__ is Reading else self._held_events).append(item)
        self._give_up_some()

    def _hold_before(self, items: Sequence[Item]) -> None:
        """Put back what could not be stored, before what came meanwhile."""
        for item in reversed(items):
            (self._held if item.__class__ is Reading else self._held_events).appendleft(item)
        self._give_up_some()

    def _give_up_some(self) -> None:
        self._something_held.set()
        while len(self._held) + len(self._held_events) > MOST_HELD:
            self._lost.note((self._held or self._held_events).popleft())
            self.lost_total += 1
