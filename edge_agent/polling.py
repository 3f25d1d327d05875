"""Asks the devices of one bus, one at a time and each on its own fixed grid, whatever the others do."""

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drivers.contract import (
    ActingDriver,
    CommandRefused,
    DeviceState,
    DeviceUnreachable,
    Driver,
    Exchange,
    Sink,
    TracedDriver,
)
from drivers.waiting import sleep_unless
from models.errors import BadInput
from models.reading import Quality, Reading, Reason
from models.times import Clock, utc_text

FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 300.0
SHARE_OF_THE_DEAD: Final = 0.05
"""The part of the bus that asking after the dead devices, all together, may cost the others."""

READ_LIMIT_S: Final = 120.0
"""In real time. No honest sweep of one device takes so long; a driver that hangs must not stop the bus."""

SHORTEST_WAIT_S: Final = 0.01
"""For a gap between devices that are due and still being stored."""

LONGEST_SLEEP_S: Final = 3600.0
"""For a bus whose devices are all due and still being stored."""

_SILENCE = (Reason.NO_REPLY, Reason.UNREACHABLE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is polled, and how often."""

    id: str
    driver: Driver
    points: tuple[str, ...]
    period_s: float


@dataclass(slots=True, eq=False)
class _Turn:
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


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """What is to be done with a device out of turn, and who waits for the outcome."""

    turn: _Turn
    work: Callable[[Driver], Awaitable[Any]]
    done: asyncio.Future[Any]


class Arbiter:
    """The only one that lets drivers use a bus.

    Of the devices that are due, the one with the earliest deadline is read; its deadline is its next slot.
    A slot that has passed altogether is skipped and counted. A device that does not answer is asked after
    when no other is due, nor will be before it has been waited for, with pauses that double; and its points
    are BAD in each of its periods. One such device is asked after at a time, and all of them together take a
    small part of the bus.
    What a device is told to do goes before everything that is only read.
    """

    def __init__(
        self,
        bus: str,
        devices: Sequence[Device],
        sink: Sink,
        *,
        clock: Clock,
        on_poll: Callable[[str, float, Sequence[Reading]], None] = lambda bus, seconds, readings: None,
        on_missed: Callable[[str, int], None] = lambda bus, count: None,
    ) -> None:
        self.bus = bus
        self._sink, self._clock = sink, clock
        self._on_poll, self._on_missed = on_poll, on_missed
        # All start together. A bus asks one after the other anyway, and polls in a row cost half of what
        # they cost one by one, each on a processor that has forgotten the last one meanwhile.
        now_s = clock.monotonic_s()
        self._turns = [_Turn(device, DeviceState(device.id), slot_s=now_s) for device in devices]
        self._news = asyncio.Event()
        self._order = itertools.count()
        self._ready: list[tuple[bool, float, int, _Turn]] = []
        self._waiting: list[tuple[float, int, _Turn]] = []
        for turn in self._turns:
            self._wait(turn)
        self._orders: deque[_Order] = deque()
        self._probes_from_s = 0.0  # before that, nobody who is lost is asked after
        self._stopping = False

    @property
    def states(self) -> list[DeviceState]:
        return [turn.state for turn in self._turns]

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `edge_agent.buses.contract.Bus`."""

        async def work(driver: Driver) -> dict[str, Any]:
            if not isinstance(driver, ActingDriver):
                raise CommandRefused(device_id, action, "it can only be read")
            return await driver.act(action, arguments)

        result: dict[str, Any] = await self._out_of_turn(device_id, work)
        return result

    async def read(self, device_id: str) -> tuple[list[Reading], list[Exchange]]:
        """See `edge_agent.buses.contract.AskedBus`."""

        async def work(driver: Driver) -> tuple[list[Reading], list[Exchange]]:
            if not isinstance(driver, TracedDriver):
                raise CommandRefused(device_id, "read", "its driver cannot show the bytes")
            return await driver.read_traced()

        result: tuple[list[Reading], list[Exchange]] = await self._out_of_turn(device_id, work)
        return result

    async def _out_of_turn(self, device_id: str, work: Callable[[Driver], Awaitable[Any]]) -> Any:
        """Let it be done before anything that is only due, and return what came of it."""
        [turn] = [turn for turn in self._turns if turn.device.id == device_id]
        if self._stopping:
            raise DeviceUnreachable(self.bus, "the agent is stopping")
        order = _Order(turn, work, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._news.set()
        return await order.done

    def stop(self) -> None:
        """Let `run` end after the poll that is under way."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Poll until `stop`; what was read is then stored, and all drivers are closed."""
        try:
            async with asyncio.TaskGroup() as storing:
                while not self._stopping:
                    while self._orders:
                        await self._obey(self._orders.popleft())
                    turn, due_s = self._next_turn()
                    if turn is None:
                        await sleep_unless(self._news, due_s - self._clock.monotonic_s(), self._clock)
                        self._news.clear()
                        continue
                    readings = await self._take_turn(turn)
                    self._wait(turn)
                    if readings:
                        turn.storing = True
                        storing.create_task(self._store(turn, readings))
        finally:
            for order in self._orders:
                if not order.done.done():
                    order.done.set_exception(DeviceUnreachable(self.bus, "the agent is stopping"))
            for turn in self._turns:
                await self._close(turn)

    def _wait(self, turn: _Turn) -> None:
        """Let it come up when it is due. An earlier entry for another time is passed over then."""
        heapq.heappush(self._waiting, (turn.due_s, next(self._order), turn))

    def _next_turn(self) -> tuple[_Turn | None, float]:
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
            self._wait(turn)
        return None, self._waiting[0][0] if self._waiting else now_s + LONGEST_SLEEP_S

    def _may_probe_s(self, turn: _Turn, now_s: float) -> float:
        """When a lost device may be asked after: now, or when to look again."""
        slots_s = [other.slot_s for other in self._turns if not other.is_lost]
        if not slots_s:
            return now_s  # there is nobody whom it could hold up
        if now_s < self._probes_from_s:
            return self._probes_from_s
        if now_s + turn.silence_s <= min(slots_s) or now_s >= turn.probe_by_s:
            return now_s
        return min(turn.probe_by_s, max(min(slots_s), now_s + SHORTEST_WAIT_S))

    async def _take_turn(self, turn: _Turn) -> list[Reading]:
        """Ask the device, or say in its name that it is lost; the readings to store."""
        now_s = self._clock.monotonic_s()
        is_slot = turn.slot_s <= now_s
        if is_slot:
            self._skip_missed(turn, now_s)
            turn.slot_s += turn.device.period_s
        if turn.is_lost and turn.probe_s > now_s:
            return self._bad(turn, turn.state.reason)
        readings = await self._read(turn)
        turn.state.polls += 1
        took_s = self._clock.monotonic_s() - now_s
        if not _is_silence(readings):
            self._found(turn)
        else:
            self._lose(turn, readings[0].reason, took_s)
            if not is_slot:
                return []  # between two slots only an answer is news
        self._on_poll(self.bus, took_s, readings)
        return readings

    def _skip_missed(self, turn: _Turn, now_s: float) -> None:
        missed = int((now_s - turn.slot_s) / turn.device.period_s)
        if missed > 0:
            turn.slot_s += missed * turn.device.period_s
            turn.state.missed_polls += missed
            self._on_missed(self.bus, missed)

    async def _obey(self, order: _Order) -> None:
        """Do what was ordered; who ordered it hears how that went."""
        if order.done.done():
            return  # who ordered it has gone
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await self._open(order.turn)
                result = await order.work(order.turn.device.driver)
        except Exception as err:
            if not order.done.done():
                order.done.set_exception(err)
            return
        if not order.done.done():
            order.done.set_result(result)

    async def _open(self, turn: _Turn) -> None:
        if turn.is_open:
            return
        turn.is_open = True
        try:
            await turn.device.driver.open()
        except DeviceUnreachable as err:
            _log.debug("%s: %s", turn.device.id, err)  # `read` tries again, and says so

    async def _read(self, turn: _Turn) -> list[Reading]:
        """What the driver says; a driver that fails gives readings without a value as well."""
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await self._open(turn)
                readings = await turn.device.driver.read()
        except Exception as err:  # a bug of one driver must not stop the others
            if turn.bugs != type(err).__name__:
                _log.exception("%s: its driver failed; please report this", turn.device.id)
            turn.bugs = type(err).__name__
            return self._bad(turn, Reason.UNREACHABLE)
        turn.bugs = ""
        return readings

    async def _store(self, turn: _Turn, readings: list[Reading]) -> None:
        try:
            await self._sink.put(readings)
        except BadInput:
            _log.exception("%s: its readings cannot be stored; please report this", turn.device.id)
        turn.storing = False
        if turn.parked:
            turn.parked = False
            self._wait(turn)
            self._news.set()

    def _found(self, turn: _Turn) -> None:
        state = turn.state
        state.answered_ms = self._clock.now_ms()
        if state.lost_since_ms is None:
            return
        lost_s = (state.answered_ms - state.lost_since_ms) / 1000
        _log.warning("%s: back after %.0f s", turn.device.id, lost_s)
        was_unreachable = state.reason is Reason.UNREACHABLE
        state.lost_since_ms, state.reason, turn.backoff_s = None, Reason.NONE, 0.0
        if was_unreachable:  # so the bus is back, and with it perhaps the others
            self._probes_from_s = 0.0
            for other in self._turns:
                if other.is_lost and other.state.reason is Reason.UNREACHABLE:
                    other.probe_s = other.probe_by_s = self._clock.monotonic_s()
                    self._wait(other)

    def _lose(self, turn: _Turn, reason: Reason, took_s: float) -> None:
        state = turn.state
        if state.lost_since_ms is None:
            state.lost_since_ms = self._clock.now_ms()
            said = "no reply" if reason is Reason.NO_REPLY else "not reachable"
            _log.warning("%s: %s since %s", turn.device.id, said, utc_text(state.lost_since_ms))
        state.reason = reason
        turn.backoff_s = min(LONGEST_BACKOFF_S, max(FIRST_BACKOFF_S, 2 * turn.backoff_s))
        turn.silence_s = took_s
        now_s = self._clock.monotonic_s()
        fair_s = min(LONGEST_BACKOFF_S, took_s * (1 / SHARE_OF_THE_DEAD - 1))
        pause_s = max(turn.backoff_s, fair_s)
        self._probes_from_s = now_s + fair_s
        if all(other.is_lost for other in self._turns):
            turn.probe_s = turn.probe_by_s = now_s + pause_s
            return
        # Look for a gap between the others before the pause is over, so that it is not held up by them.
        slack_s = min(turn.device.period_s, pause_s / 2)
        turn.probe_s = now_s + max(fair_s, pause_s - slack_s)
        turn.probe_by_s = turn.probe_s + slack_s

    def _bad(self, turn: _Turn, reason: Reason) -> list[Reading]:
        now_ms = self._clock.now_ms()
        return [
            Reading(
                device_id=turn.device.id,
                point=point,
                value=None,
                quality=Quality.BAD,
                reason=reason,
                measured_ms=now_ms,
                received_ms=now_ms,
            )
            for point in turn.device.points
        ]

    async def _close(self, turn: _Turn) -> None:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await turn.device.driver.close()
        except Exception:
            _log.exception("%s: its driver could not be closed", turn.device.id)


def _is_silence(readings: Sequence[Reading]) -> bool:
    return all(reading.quality is Quality.BAD and reading.reason in _SILENCE for reading in readings)
