"""Decides which device of a bus is asked next, and when one that is lost may be asked after."""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drivers.contract import DeviceState, Driver
from models.reading import Reason
from models.times import Clock

FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 300.0
SHARE_OF_THE_DEAD: Final = 0.05
"""The part of the bus that asking after the dead devices, all together, may cost the others."""

SHORTEST_WAIT_S: Final = 0.01
"""For a gap between devices that are due and still being stored."""

LONGEST_SLEEP_S: Final = 3600.0
"""For a bus whose devices are all due and still being stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is polled, and how often."""

    id: str
    driver: Driver
    points: tuple[str, ...]
    period_s: float


@dataclass(slots=True, eq=False)
class Turn:
    """A device with its place in time. All times are `Clock.monotonic_s`."""

    device: Device
    state: DeviceState
    slot_s: float  # when its next poll is due
    probe_s: float = 0.0  # when a lost device may be asked again, if that holds up nobody
    probe_by_s: float = 0.0  # when it is asked all the same
    backoff_s: float = 0.0
    silence_s: float = 0.0  # how long it was waited for, the last time
    storing: bool = False  # what it said last is not yet on disk
    parked: bool = False  # was due while it was storing; the end of that puts it back
    is_ready: bool = False  # stands in the queue of those that are due
    is_open: bool = False
    is_gone: bool = False  # is no device of the bus any more
    bugs: str = ""  # the kind of the last error that was no answer, said once

    @property
    def is_lost(self) -> bool:
        return self.state.lost_since_ms is not None

    @property
    def due_s(self) -> float:
        """When something is to be done for it."""
        return min(self.slot_s, self.probe_s) if self.is_lost else self.slot_s

    @property
    def urgency(self) -> tuple[bool, float]:
        """Devices that answer go first, and the earliest deadline before the others."""
        return self.is_lost, self.slot_s + self.device.period_s


class Schedule:
    """The devices of one bus in the order of their urgency.

    Of those that are due, the one with the earliest deadline goes first; its deadline is its next slot. A
    device that is lost goes when no other is due, nor will be before it has been waited for, with pauses
    that double. One such device goes at a time, and all of them together take a small part of the bus.
    """

    def __init__(self, devices: Sequence[Device], clock: Clock) -> None:
        self._clock = clock
        # All start together. A bus asks one after the other anyway, and polls in a row cost half of what
        # they cost one by one, each on a processor that has forgotten the last one meanwhile.
        now_s = clock.monotonic_s()
        self.turns = [Turn(device, DeviceState(device.id), slot_s=now_s) for device in devices]
        self._order = itertools.count()
        self._ready: list[tuple[bool, float, int, Turn]] = []
        self._waiting: list[tuple[float, int, Turn]] = []
        self._probes_from_s = 0.0  # before that, nobody who is lost is asked after
        for turn in self.turns:
            self.wait(turn)

    def add(self, device: Device) -> Turn:
        """A device that is due at once."""
        turn = Turn(device, DeviceState(device.id), slot_s=self._clock.monotonic_s())
        self.turns.append(turn)
        self.wait(turn)
        return turn

    def remove(self, turn: Turn) -> None:
        """The device is not asked any more."""
        turn.is_gone = True
        self.turns.remove(turn)
        self._ready = [entry for entry in self._ready if entry[3] is not turn]
        self._waiting = [entry for entry in self._waiting if entry[2] is not turn]
        heapq.heapify(self._ready)
        heapq.heapify(self._waiting)

    def exchange(self, turn: Turn, device: Device) -> None:
        """Another device in place of one; nothing is known of it, but the grid goes on where it was."""
        now_s = self._clock.monotonic_s()
        turn.device, turn.state = device, DeviceState(device.id)
        turn.slot_s = min(turn.slot_s, now_s + device.period_s)
        turn.probe_s = turn.probe_by_s = turn.backoff_s = turn.silence_s = 0.0
        turn.bugs = ""
        self.wait(turn)

    def wait(self, turn: Turn) -> None:
        """Let it come up when it is due. An earlier entry for another time is passed over then."""
        heapq.heappush(self._waiting, (turn.due_s, next(self._order), turn))

    def next_turn(self) -> tuple[Turn | None, float]:
        """The most urgent device that is due, or None and when the next will be.

        One that is due but still being stored is parked; the end of that is news by itself.
        """
        now_s = self._clock.monotonic_s()
        while self._waiting and self._waiting[0][0] <= now_s:
            due_s, _, turn = heapq.heappop(self._waiting)
            if due_s == turn.due_s and not turn.is_ready:
                turn.is_ready = True
                heapq.heappush(self._ready, (*turn.urgency, next(self._order), turn))
        while self._ready:
            turn = heapq.heappop(self._ready)[3]
            turn.is_ready = False
            if turn.storing:
                turn.parked = True
                continue
            if turn.is_lost and turn.probe_s <= now_s:
                turn.probe_s = self._may_probe_s(turn, now_s)
            if turn.due_s <= now_s:
                return turn, now_s
            self.wait(turn)
        return None, self._waiting[0][0] if self._waiting else now_s + LONGEST_SLEEP_S

    def _may_probe_s(self, turn: Turn, now_s: float) -> float:
        """When a lost device may be asked after: now, or when to look again."""
        slots_s = [other.slot_s for other in self.turns if not other.is_lost]
        if not slots_s:
            return now_s  # there is nobody whom it could hold up
        if now_s < self._probes_from_s:
            return self._probes_from_s
        if now_s + turn.silence_s <= min(slots_s) or now_s >= turn.probe_by_s:
            return now_s
        return min(turn.probe_by_s, max(min(slots_s), now_s + SHORTEST_WAIT_S))

    def found(self, turn: Turn, *, bus_is_back: bool) -> None:
        """It has answered again. `bus_is_back`: then perhaps the others will, too."""
        turn.backoff_s = 0.0
        if not bus_is_back:
            return
        self._probes_from_s = 0.0
        for other in self.turns:
            if other.is_lost and other.state.reason is Reason.UNREACHABLE:
                other.probe_s = other.probe_by_s = self._clock.monotonic_s()
                self.wait(other)

    def lose(self, turn: Turn, took_s: float) -> None:
        """It has not answered, which took that long."""
        turn.backoff_s = min(LONGEST_BACKOFF_S, max(FIRST_BACKOFF_S, 2 * turn.backoff_s))
        turn.silence_s = took_s
        now_s = self._clock.monotonic_s()
        fair_s = min(LONGEST_BACKOFF_S, took_s * (1 / SHARE_OF_THE_DEAD - 1))
        pause_s = max(turn.backoff_s, fair_s)
        self._probes_from_s = now_s + fair_s
        if all(other.is_lost for other in self.turns):
            turn.probe_s = turn.probe_by_s = now_s + pause_s
            return
        # Look for a gap between the others before the pause is over, so that it is not held up by them.
        slack_s = min(turn.device.period_s, pause_s / 2)
        turn.probe_s = now_s + max(fair_s, pause_s - slack_s)
        turn.probe_by_s = turn.probe_s + slack_s
