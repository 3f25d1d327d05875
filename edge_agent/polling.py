"""Asks the devices of one bus, one at a time and each on its own fixed grid, whatever the others do."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
from edge_agent.schedule import Device, Schedule, Turn
from models.errors import BadInput
from models.reading import Quality, Reading, Reason
from models.times import Clock

READ_LIMIT_S: Final = 120.0
"""In real time. No honest sweep of one device takes so long; a driver that hangs must not stop the bus."""

_SILENCE = (Reason.NO_REPLY, Reason.UNREACHABLE)

_NOT_ANY_MORE: Final = "it is no device of this bus any more"
_STOPPING: Final = "the agent is stopping, or has another configuration"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """What is to be done with a device out of turn, and who waits for the outcome."""

    turn: Turn
    action: str
    work: Callable[[Driver], Awaitable[Any]]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """Devices that go, and others that come or take a place, when no poll is under way."""

    gone: Collection[str]
    put: Sequence[Device]
    done: asyncio.Future[None]


class Arbiter:
    """The only one that lets drivers use a bus.

    Which device is next `edge_agent.schedule` decides. A slot that has passed altogether is skipped and
    counted; the points of a device that does not answer are BAD in each of its periods. What a device
    is told to do goes before everything that is only read.
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
        self._schedule = Schedule(devices, clock)
        self._news = asyncio.Event()
        self._orders: deque[_Order] = deque()
        self._changes: deque[_Change] = deque()
        self._storing: dict[str, asyncio.Task[None]] = {}  # by device
        self._stopping = False

    @property
    def states(self) -> list[DeviceState]:
        return [turn.state for turn in self._schedule.turns]

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `edge_agent.buses.contract.Bus`."""

        async def work(driver: Driver) -> dict[str, Any]:
            if not isinstance(driver, ActingDriver):
                raise CommandRefused(device_id, action, "it can only be read")
            return await driver.act(action, arguments)

        result: dict[str, Any] = await self._out_of_turn(device_id, action, work)
        return result

    async def read(self, device_id: str) -> tuple[list[Reading], list[Exchange]]:
        """See `edge_agent.buses.contract.AskedBus`."""

        async def work(driver: Driver) -> tuple[list[Reading], list[Exchange]]:
            if not isinstance(driver, TracedDriver):
                raise CommandRefused(device_id, "read", "its driver cannot show the bytes")
            return await driver.read_traced()

        result: tuple[list[Reading], list[Exchange]] = await self._out_of_turn(device_id, "read", work)
        return result

    async def _out_of_turn(
        self, device_id: str, action: str, work: Callable[[Driver], Awaitable[Any]]
    ) -> Any:
        """Let it be done before anything that is only due, and return what came of it."""
        turn = self._turn(device_id)
        if turn is None:
            raise CommandRefused(device_id, action, _NOT_ANY_MORE)
        if self._stopping:
            raise DeviceUnreachable(self.bus, _STOPPING)
        order = _Order(turn, action, work, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._news.set()
        return await order.done

    async def let_go(self, gone: Collection[str]) -> None:
        """End with these devices. When it returns, what they said is stored."""
        await self._change(gone, ())
        storing = [self._storing[name] for name in gone if name in self._storing]
        if storing:
            await asyncio.wait(storing)

    async def take(self, devices: Sequence[Device]) -> None:
        """Begin with these; those whose id is known take its place, and its grid."""
        await self._change((), devices)

    async def _change(self, gone: Collection[str], put: Sequence[Device]) -> None:
        """Between two polls. Raises DeviceUnreachable when the bus ends before."""
        if self._stopping:
            raise DeviceUnreachable(self.bus, _STOPPING)
        change = _Change(gone, put, asyncio.get_running_loop().create_future())
        self._changes.append(change)
        self._news.set()
        await change.done

    def stop(self) -> None:
        """Let `run` end after the poll that is under way."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Poll until `stop`; what was read is then stored, and all drivers are closed."""
        try:
            async with asyncio.TaskGroup() as storing:
                while not self._stopping:
                    while self._changes:
                        await self._make(self._changes.popleft())
                    while self._orders:
                        await self._obey(self._orders.popleft())
                    turn, due_s = self._schedule.next_turn()
                    if turn is None:
                        await sleep_unless(self._news, due_s - self._clock.monotonic_s(), self._clock)
                        self._news.clear()
                        continue
                    readings = await self._take_turn(turn)
                    self._schedule.wait(turn)
                    if readings:
                        turn.storing = True
                        name = turn.device.id
                        self._storing[name] = storing.create_task(self._store(turn, readings))
        finally:
            waiting = [change.done for change in self._changes] + [order.done for order in self._orders]
            for done in waiting:
                if not done.done():
                    done.set_exception(DeviceUnreachable(self.bus, _STOPPING))
            for turn in self._schedule.turns:
                await self._close(turn.device)

    async def _take_turn(self, turn: Turn) -> list[Reading]:
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

    def _skip_missed(self, turn: Turn, now_s: float) -> None:
        missed = int((now_s - turn.slot_s) / turn.device.period_s)
        if missed > 0:
            turn.slot_s += missed * turn.device.period_s
            turn.state.missed_polls += missed
            self._on_missed(self.bus, missed)

    async def _obey(self, order: _Order) -> None:
        """Do what was ordered; who ordered it hears how that went."""
        if order.done.done():
            return  # who ordered it has gone
        if order.turn.is_gone:
            order.done.set_exception(CommandRefused(order.turn.device.id, order.action, _NOT_ANY_MORE))
            return
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

    async def _make(self, change: _Change) -> None:
        try:
            for device_id in change.gone:
                turn = self._turn(device_id)
                if turn is not None:
                    self._schedule.remove(turn)
                    await self._close(turn.device)
            for device in change.put:
                turn = self._turn(device.id)
                if turn is None:
                    self._schedule.add(device)
                else:
                    await self._exchange(turn, device)
        finally:
            if not change.done.done():
                change.done.set_result(None)

    async def _exchange(self, turn: Turn, device: Device) -> None:
        before = turn.device
        self._schedule.exchange(turn, device)
        if turn.is_open:
            turn.is_open = False
            await self._open(turn)  # before the other one lets go, so that the wire of both stays open
        await self._close(before)

    def _turn(self, device_id: str) -> Turn | None:
        return next((turn for turn in self._schedule.turns if turn.device.id == device_id), None)

    async def _open(self, turn: Turn) -> None:
        if turn.is_open:
            return
        turn.is_open = True
        try:
            await turn.device.driver.open()
        except DeviceUnreachable as err:
            _log.debug("%s: %s", turn.device.id, err)  # `read` tries again, and says so

    async def _read(self, turn: Turn) -> list[Reading]:
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

    async def _store(self, turn: Turn, readings: list[Reading]) -> None:
        try:
            await self._sink.put(readings)
        except BadInput:
            _log.exception("%s: its readings cannot be stored; please report this", turn.device.id)
        turn.storing = False
        if turn.parked and not turn.is_gone:
            turn.parked = False
            self._schedule.wait(turn)
            self._news.set()

    def _found(self, turn: Turn) -> None:
        state = turn.state
        state.answered_ms = self._clock.now_ms()
        if state.lost_since_ms is None:
            return
        lost_s = (state.answered_ms - state.lost_since_ms) / 1000
        _log.warning("%s: back after %.0f s", turn.device.id, lost_s)
        was_unreachable = state.reason is Reason.UNREACHABLE
        state.lost_since_ms, state.reason = None, Reason.NONE
        self._schedule.found(turn, bus_is_back=was_unreachable)

    def _lose(self, turn: Turn, reason: Reason, took_s: float) -> None:
        state = turn.state
        if state.lost_since_ms is None:
            state.lost_since_ms = self._clock.now_ms()
            said = "no reply" if reason is Reason.NO_REPLY else "not reachable"
            _log.warning("%s: %s", turn.device.id, said)
        state.reason = reason
        self._schedule.lose(turn, took_s)

    def _bad(self, turn: Turn, reason: Reason) -> list[Reading]:
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

    async def _close(self, device: Device) -> None:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await device.driver.close()
        except Exception:
            _log.exception("%s: its driver could not be closed", device.id)


def _is_silence(readings: Sequence[Reading]) -> bool:
    return all(reading.quality is Quality.BAD and reading.reason in _SILENCE for reading in readings)
