"""Listens to LoRaWAN parking sensors through the MQTT broker of a ChirpStack network server."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from drivers.contract import CommandRefused, DeviceState, Sink
from drivers.parking.broker import Batch, Broker, BrokerGone, connected
from drivers.parking.messages import EVENTS, MessageRefused, read_message
from drivers.parking.sensor import Sensor
from models.errors import NeedsAHuman
from models.reading import GATEWAY, Event, Item
from models.times import Clock, utc_text

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0

FARTHEST_AHEAD_MS: Final = 60_000
"""A network server whose clock is farther ahead than this is not believed; ours is kept by the agent."""

EARLIEST_MS: Final = 1_577_836_800_000  # 2020: before ChirpStack 4, so a clock that was never set
LONGEST_WATCH_S: Final = 60.0
MOST_STRANGERS: Final = 1000  # of whom the log tells once each

_log = logging.getLogger(__name__)


class ChirpStackListener:
    """A `Listener` for the sensors of one application."""

    def __init__(
        self, bus: str, broker: Broker, application: str, sensors: Sequence[Sensor], *, clock: Clock
    ) -> None:
        self._bus, self._broker, self._clock = bus, broker, clock
        self._topics = [f"application/{application}/device/+/event/{event}" for event in EVENTS]
        self._sensors = {sensor.eui: sensor for sensor in sensors}
        self._strangers: set[str] = set()
        self._putting = asyncio.Lock()  # what one sensor says and that it is silent must not cross
        self.gone_since_ms: int | None = None
        """Since when there is no connection to the broker, once there was an attempt at one."""
        self._is_clock_wrong = False
        self.refused: Counter[str] = Counter()
        """How many messages were refused, by reason."""

    @property
    def states(self) -> Sequence[DeviceState]:
        return [sensor.state for sensor in self._sensors.values()]

    async def run(self, sink: Sink) -> None:
        """See `Listener`."""
        client_id = await self._restore(sink)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(sink, client_id), name=f"messages {self._bus}")
                tasks.create_task(self._watch(sink), name=f"silence {self._bus}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # the other one was cancelled by it

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> NoReturn:
        """See `Listener`."""
        raise CommandRefused(device_id, action, "a parking sensor takes no commands")

    async def _restore(self, sink: Sink) -> str:
        """Begin with what is stored. Returns our name at the broker, which keeps messages under it."""
        marks = await sink.marks("parking/")
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        for sensor in self._sensors.values():
            sensor.restore(marks.get(sensor.mark), now_ms, now_s)
        name = f"parking/@{self._bus}/client"
        if name not in marks:
            marks[name] = f"gatehouse-{secrets.token_hex(8)}"
            await sink.put([], {name: marks[name]})
        return marks[name]

    async def _listen(self, sink: Sink, client_id: str) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with connected(self._broker, client_id, self._topics) as batches:
                    self._is_back()
                    pause_s = FIRST_PAUSE_S
                    async for batch in batches:
                        await self._take(batch, sink)
                        batch.acknowledge()
            except (BrokerGone, NeedsAHuman) as err:
                self._is_gone(err)
                if isinstance(err, NeedsAHuman):
                    raise
            # Not all gateways of an institution at the same moment, when their broker is back.
            await self._clock.sleep(pause_s * (0.5 + secrets.randbelow(1000) / 2000))
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _take(self, batch: Batch, sink: Sink) -> None:
        """Store what a batch says, with how far each of its sensors has been heard, in one step."""
        async with self._putting:
            items: list[Item] = []
            touched: dict[str, Sensor] = {}
            for topic, body in batch.messages:
                items += self._message(topic, body, touched)
            if items or touched:
                await sink.put(items, {sensor.mark: sensor.remembered for sensor in touched.values()})

    def _message(self, topic: str, body: bytes, touched: dict[str, Sensor]) -> list[Item]:
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        try:
            heard = read_message(topic, body)
        except MessageRefused as err:
            self.refused[err.reason] += 1
            sensor = self._sensors.get(_eui_of(topic))
            return [] if sensor is None else sensor.refuse(err.reason, err.detail, now_ms, now_s)
        sensor = self._sensors.get(heard.eui)
        if sensor is None:
            self._stranger(heard.eui)
            return []
        measured_ms, items = self._measured(heard.time_ms, now_ms)
        before = sensor.memory
        items += sensor.take(heard, measured_ms, now_ms, now_s)
        if sensor.memory is not before:
            touched[sensor.eui] = sensor
        return items

    async def _watch(self, sink: Sink) -> None:
        """Tell of each sensor that says nothing, when it is due."""
        while True:
            async with self._putting:
                now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
                items: list[Item] = []
                for sensor in self._sensors.values():
                    items += sensor.silence(now_ms, now_s)
                if items:
                    await sink.put(items)
                next_s = min(sensor.due_s for sensor in self._sensors.values())
            wait_s = next_s - self._clock.monotonic_s()
            await self._clock.sleep(min(max(0.001, wait_s), LONGEST_WATCH_S))

    def _measured(self, time_ms: int | None, now_ms: int) -> tuple[int, list[Item]]:
        """When a message was measured, and what is told of the clock that says so."""
        if time_ms is None:
            return now_ms, []
        if now_ms < EARLIEST_MS:  # we do not know the time ourselves, and the server may
            return (time_ms if time_ms >= EARLIEST_MS else now_ms), []
        is_wrong = time_ms > now_ms + FARTHEST_AHEAD_MS or time_ms < EARLIEST_MS
        told: list[Item] = []
        if is_wrong is not self._is_clock_wrong:
            self._is_clock_wrong = is_wrong
            kind = "radio.clock_wrong" if is_wrong else "radio.clock_right"
            data = {"bus": self._bus, "offset_s": round((time_ms - now_ms) / 1000)}
            told.append(
                Event(device_id=GATEWAY, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms)
            )
        return (now_ms if is_wrong else min(time_ms, now_ms)), told

    def _stranger(self, eui: str) -> None:
        self.refused["unknown-device"] += 1
        if eui not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(eui)
            _log.warning("%s: %s is no device of this bus; what it says is left out", self._bus, eui)

    def _is_gone(self, err: Exception) -> None:
        if self.gone_since_ms is None:
            self.gone_since_ms = self._clock.now_ms()
            _log.warning("%s: no broker since %s: %s", self._bus, utc_text(self.gone_since_ms), err)

    def _is_back(self) -> None:
        if self.gone_since_ms is not None:
            away_s = (self._clock.now_ms() - self.gone_since_ms) / 1000
            _log.warning("%s: the broker is back after %.0f s", self._bus, away_s)
            self.gone_since_ms = None


def _eui_of(topic: str) -> str:
    """Of a topic in the usual form; whatever else it is, it is no device's."""
    parts = topic.split("/")
    return parts[3].upper() if len(parts) == 6 else ""
