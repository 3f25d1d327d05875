"""Listens to the Bluetooth devices of one adapter: advertisements, and meters that are asked over GATT."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bleak.backends.device import BLEDevice

from drivers.ble.device import BleDevice
from drivers.ble.frames import Advert, FrameRefused, Refusal
from drivers.ble.radio import Radio, RadioDown, TalkFailed
from drivers.ble.vigil import Step, Vigil
from drivers.contract import CommandRefused, DeviceState, Sink
from models.reading import GATEWAY, Event, Item, Reason
from models.times import Clock, utc_text

FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 300.0
MOST_WAITING: Final = 2000
"""Advertisements that wait to be stored; a busy radio brings 1000 a second, and a commit takes 0.1 s."""
TELL_AGAIN_S: Final = 3600.0
"""A refusal is told once, and again when it still happens after so long."""
FRESH_S: Final = 60.0
"""A device that was heard so recently can be connected to."""

SHORTEST_LOOK_S: Final = 0.1
"""Between two looks for devices that are silent."""

_NOBODY: Final = ""

_log = logging.getLogger(__name__)


class Refused(NamedTuple):
    """What the count of refused frames is kept by."""

    device_id: str  # "" for devices that are not configured
    reason: Refusal


@dataclass(slots=True)
class _Watch:
    """What the listener knows of one device in this run."""

    device: BleDevice
    heard_s: float
    bad_s: float  # when the next BAD readings are due, if it stays silent
    refused_since: bool = False  # frames came, but none that could be taken
    at_air: BLEDevice | None = None  # what bleak connects to
    at_air_s: float = float("-inf")
    ask_s: float = 0.0


class BleListener:
    """A `drivers.contract.Listener`. Only what is configured is listened to; the rest is counted."""

    def __init__(self, bus: str, radio: Radio, devices: Sequence[BleDevice], clock: Clock) -> None:
        self._bus, self._radio, self._devices, self._clock = bus, radio, list(devices), clock
        self.refused: Counter[Refused] = Counter()
        """How many frames were refused since the start of the agent, by device and reason."""
        self.scanner_rebuilds = self.adapter_resets = 0
        self._by_address: dict[str, _Watch] = {}
        self._waiting: asyncio.Queue[tuple[_Watch, Advert, int, float]] = asyncio.Queue(MOST_WAITING)
        self._told: dict[Refused, float] = {}
        self._is_down = False
        self._vigil = self._new_vigil()

    @property
    def states(self) -> Sequence[DeviceState]:
        return [device.state for device in self._devices]

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Raises CommandRefused: nothing that is heard here takes commands."""
        raise CommandRefused(device_id, action, "it is a device that is only listened to")

    async def run(self, sink: Sink) -> None:
        marks = await sink.marks("ble/")
        now_s = self._clock.monotonic_s()
        self._waiting = asyncio.Queue(MOST_WAITING)
        self._by_address = {}
        self._vigil = self._new_vigil()
        for device in self._devices:
            device.restart(marks)
            watch = _Watch(device, now_s, now_s + device.lost_after_s, ask_s=now_s)
            self._by_address[device.address] = watch
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._scan(sink), name=f"scan {self._bus}")
                tasks.create_task(self._take(sink), name=f"take {self._bus}")
                tasks.create_task(self._miss(sink), name=f"miss {self._bus}")
                if any(device.conversation for device in self._devices):
                    tasks.create_task(self._ask(sink), name=f"ask {self._bus}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # the others were cancelled by it

    def _new_vigil(self) -> Vigil:
        return Vigil(min(device.period_s for device in self._devices))

    # --- the radio

    async def _scan(self, sink: Sink) -> None:
        backoff_s = 0.0
        while True:
            try:
                async with self._radio.scanning(self._received):
                    self._vigil.started(self._clock.monotonic_s())
                    await self._radio_is_up(sink)
                    backoff_s = 0.0
                    step = await self._until_silent()
                if step is Step.RESET:
                    self.adapter_resets += 1
                    await self._tell(sink, GATEWAY, "ble.adapter_reset", {"adapter": self._radio.adapter})
                    await self._radio.power_cycle()
                else:
                    self.scanner_rebuilds += 1
            except RadioDown as err:
                await self._radio_is_down(sink, err)
                backoff_s = min(LONGEST_BACKOFF_S, max(FIRST_BACKOFF_S, 2 * backoff_s))
                await self._clock.sleep(backoff_s)
                await self._try_power()

    async def _until_silent(self) -> Step:
        """What is to be done, once the radio has been silent for too long."""
        while True:
            now_s = self._clock.monotonic_s()
            if (step := self._vigil.step(now_s)) is not None:
                what = "scanner is built anew" if step is Step.REBUILD else "adapter is switched off and on"
                _log.warning("%s: nothing heard on %s; its %s", self._bus, self._radio.adapter, what)
                return step
            await self._clock.sleep(self._vigil.due_s - now_s)

    async def _try_power(self) -> None:
        """An adapter that is off is switched on; for any other trouble this does nothing."""
        try:
            await self._radio.power_on()
        except RadioDown as err:
            _log.debug("%s: %s", self._bus, err)

    async def _radio_is_down(self, sink: Sink, err: RadioDown) -> None:
        if not self._is_down:
            _log.error("%s: %s", self._bus, err)
            facts = {"adapter": err.adapter, "detail": err.detail}
            self._is_down = True
            await self._tell(sink, GATEWAY, "ble.adapter_lost", facts)

    async def _radio_is_up(self, sink: Sink) -> None:
        if self._is_down:
            _log.warning("%s: %s is back", self._bus, self._radio.adapter)
            self._is_down = False
            await self._tell(sink, GATEWAY, "ble.adapter_back", {"adapter": self._radio.adapter})

    def _received(self, advert: Advert, device: BLEDevice) -> None:
        """Called by bleak for whatever is received."""
        now_s = self._clock.monotonic_s()
        self._vigil.heard(now_s)
        watch = self._by_address.get(advert.address)
        if watch is None:
            self.refused[Refused(_NOBODY, Refusal.FOREIGN)] += 1
            return
        watch.at_air, watch.at_air_s = device, now_s
        if watch.device.conversation is not None:
            return  # it says only that it is there
        if self._waiting.full():
            self._waiting.get_nowait()
            self.refused[Refused(watch.device.id, Refusal.OVERFLOW)] += 1
        self._waiting.put_nowait((watch, advert, self._clock.now_ms(), now_s))

    # --- what was heard

    async def _take(self, sink: Sink) -> None:
        """Bring what waits to the sink, all at once: so the next commit has what came during this one.

        What was heard is stored also when the listener is told to end.
        """
        try:
            while True:
                await self._store(sink, [await self._waiting.get()])
        finally:
            await self._store(sink, [])

    async def _store(self, sink: Sink, heard: list[tuple[_Watch, Advert, int, float]]) -> None:
        while not self._waiting.empty():
            heard.append(self._waiting.get_nowait())
        items: list[Item] = []
        marks: dict[str, str] = {}
        for watch, advert, now_ms, now_s in heard:
            outcome = watch.device.hear(advert, now_ms, now_s)
            items += outcome.items
            marks |= outcome.marks
            if outcome.is_alive:
                self._found(watch, now_ms, now_s)
            for refusal in outcome.refusals:
                items += self._refuse(watch, refusal, outcome.detail, now_ms, now_s)
        if items or marks:
            putting = asyncio.ensure_future(sink.put(items, marks))
            try:
                await asyncio.shield(putting)
            except asyncio.CancelledError:
                await putting
                raise

    def _refuse(self, watch: _Watch, refusal: Refusal, detail: str, now_ms: int, now_s: float) -> list[Event]:
        """Count it, and tell it when it is news."""
        device_id = watch.device.id
        watch.refused_since = True
        what = Refused(device_id, refusal)
        self.refused[what] += 1
        if now_s < self._told.get(what, float("-inf")) + TELL_AGAIN_S:
            return []
        self._told[what] = now_s
        _log.warning("%s: a frame was refused (%s): %s", device_id, refusal, detail)
        data = {"reason": str(refusal), "detail": detail, "refused": self.refused[what]}
        return [
            Event(
                device_id=device_id, kind="device.refused", data=data, measured_ms=now_ms, received_ms=now_ms
            )
        ]

    # --- what was not heard

    async def _miss(self, sink: Sink) -> None:
        """BAD readings for devices that are silent, once a period."""
        while True:
            now_s = self._clock.monotonic_s()
            watches = list(self._by_address.values())
            items: list[Item] = []
            for watch in watches:
                if now_s >= watch.bad_s and self._waiting.empty():  # else it may be in there
                    items += self._lose(watch)
                    watch.bad_s += watch.device.period_s * (
                        1 + (now_s - watch.bad_s) // watch.device.period_s
                    )
            if items:
                await sink.put(items)
            due_s = min(watch.bad_s for watch in watches)
            await self._clock.sleep(max(SHORTEST_LOOK_S, due_s - self._clock.monotonic_s()))

    def _lose(self, watch: _Watch) -> Sequence[Item]:
        device, now_ms = watch.device, self._clock.now_ms()
        state = device.state
        reason = Reason.BAD_REPLY if watch.refused_since else Reason.NO_REPLY
        if self._is_down:
            reason = Reason.UNREACHABLE
        if state.lost_since_ms is None:
            state.lost_since_ms = now_ms
            _log.warning("%s: not heard since %s", device.id, utc_text(self._heard_ms(watch, now_ms)))
        state.reason = reason
        state.polls += 1
        state.missed_polls += 1
        return device.silent(reason, now_ms)

    def _heard_ms(self, watch: _Watch, now_ms: int) -> int:
        return now_ms - round(1000 * (self._clock.monotonic_s() - watch.heard_s))

    def _found(self, watch: _Watch, now_ms: int, now_s: float) -> None:
        state = watch.device.state
        watch.heard_s, watch.bad_s, watch.refused_since = now_s, now_s + watch.device.lost_after_s, False
        state.answered_ms = now_ms
        state.polls += 1
        if state.lost_since_ms is not None:
            lost_s = (now_ms - state.lost_since_ms) / 1000
            _log.warning("%s: back after %.0f s", watch.device.id, lost_s)
            state.lost_since_ms, state.reason = None, Reason.NONE

    # --- meters that are asked

    async def _ask(self, sink: Sink) -> None:
        """One connection at a time, and none to a device that is not on the air."""
        asked = [watch for watch in self._by_address.values() if watch.device.conversation is not None]
        while True:
            watch = min(asked, key=lambda watch: watch.ask_s)
            await self._clock.sleep(max(0.0, watch.ask_s - self._clock.monotonic_s()))
            now_s = self._clock.monotonic_s()
            is_near = now_s - watch.at_air_s <= max(FRESH_S, watch.device.lost_after_s)
            if is_near and await self._ask_one(watch, sink):
                watch.ask_s += watch.device.period_s
            else:  # look again soon: it may be on the air at any moment
                watch.ask_s = now_s + min(watch.device.period_s, FIRST_BACKOFF_S if not is_near else FRESH_S)
            now_s = self._clock.monotonic_s()
            if watch.ask_s < now_s:  # the grid is kept, and what is past is not made up for
                watch.ask_s += watch.device.period_s * (1 + (now_s - watch.ask_s) // watch.device.period_s)

    async def _ask_one(self, watch: _Watch, sink: Sink) -> bool:
        device = watch.device
        if watch.at_air is None or device.conversation is None:
            return False
        try:
            answer = await self._radio.talk(watch.at_air, device.conversation)
        except TalkFailed as err:
            _log.info("%s: %s", device.id, err)
            return False
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        self._vigil.heard(now_s)
        try:
            frame = device.conversation.decode(answer.frame)
        except FrameRefused as err:
            await sink.put(self._refuse(watch, err.refusal, err.detail, now_ms, now_s))
            return False
        watch.at_air_s = now_s
        self._found(watch, now_ms, now_s)
        await sink.put(device.answered(frame, answer.measured_ms, answer.received_ms))
        return True

    async def _tell(self, sink: Sink, device_id: str, kind: str, facts: dict[str, Any]) -> None:
        now_ms = self._clock.now_ms()
        facts = {"bus": self._bus, **facts}
        await sink.put(
            [Event(device_id=device_id, kind=kind, data=facts, measured_ms=now_ms, received_ms=now_ms)]
        )
