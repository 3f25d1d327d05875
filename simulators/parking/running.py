"""A car park that runs: its sensors publish, its zone controllers answer."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiomqtt

from models.profile.parking_controller import ParkingControllerProfile
from models.times import Clock
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.line.running import RunningLine, running_line
from simulators.line.serial import Sleep
from simulators.parking.broker import LocalBroker, local_broker
from simulators.parking.client import mqtt_client
from simulators.parking.controller import ControllerTalker, SimulatedController
from simulators.parking.sections import CarParkSection, ControllerLineSection, RestartSection
from simulators.parking.sensor import Message, SimulatedSensor
from simulators.profiles import profile_of

RETRY_S: Final = 0.1  # in real time, while the broker is away
PUBLISH_LIMIT_S: Final = 1.0  # the library does not notice that the broker went away before it answered
ZONE: Final = "parking-zone"


class CarPark:
    """What is served at present."""

    def __init__(
        self,
        section: CarParkSection,
        host: str,
        port: int,
        sensors: Sequence[SimulatedSensor],
        lines: Sequence[RunningLine],
        broker: LocalBroker | None,
    ) -> None:
        self.section, self.host, self.port = section, host, port
        self.sensors, self.lines = tuple(sensors), tuple(lines)
        self.broker = broker  # where it was started here
        self.published = 0

    def buses(self, prefix: str) -> list[dict[str, Any]]:
        """The network server, the lines and the zones as buses of gateway.yaml."""
        lora = {"host": self.host, "port": self.port, "application": self.section.application}
        found: list[dict[str, Any]] = [{"id": f"{prefix}-lora", "chirpstack": lora}] if self.sensors else []
        for number, line in enumerate(self.lines, 1):
            bus = line.bus(f"{prefix}-line-{number}")
            if "serial" in bus:
                bus["serial"] |= {"baud": self.section.lines[number - 1].baud or 9600, "parity": "none"}
            found.append(bus)
        return [*found, {"id": f"{prefix}-zones", "parking": {}}]

    def devices(self, prefix: str, *, period_s: float = 10) -> list[dict[str, Any]]:
        """One zone with the bays of all sensors and controllers, as devices of gateway.yaml."""
        zone = f"{prefix}-zone"
        found: list[dict[str, Any]] = [
            {"id": zone, "name": zone, "bus": f"{prefix}-zones", "profile": ZONE, "period_s": period_s}
        ]
        for sensor in self.sensors:
            device = {"id": sensor.device, "name": sensor.device, "bus": f"{prefix}-lora"}
            device |= {"address": sensor.dev_eui, "profile": sensor.profile, "zone": zone}
            found.append({**device, "period_s": sensor.alive_every_ms / 1000})
        for number, line in enumerate(self.section.lines, 1):
            for controller in line.controllers:
                device = {"id": controller.id, "name": controller.id, "bus": f"{prefix}-line-{number}"}
                facts = {"unit": controller.unit, "profile": controller.profile, "zone": zone}
                found.append({**device, **facts, "period_s": period_s})
        return found


@asynccontextmanager
async def running_car_park(
    section: CarParkSection,
    *,
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[CarPark]:
    """Serve the car park while the block runs. Raises NoMosquitto, BrokerDidNotStart and CannotOpen."""
    life = building or Building(seed=seed)
    sensors = make_sensors(section, life, origin_ms)
    async with AsyncExitStack() as stack:
        broker: LocalBroker | None = None
        if sensors and section.broker is None:
            broker = await stack.enter_async_context(local_broker())
        lines = [
            await stack.enter_async_context(
                running_line(
                    line,
                    [_talker(line, f"controllers {number}", life, origin_ms, clock, ledger)],
                    clock=clock,
                    ledger=ledger,
                    wire_sleep=wire_sleep,
                )
            )
            for number, line in enumerate(section.lines)
        ]
        at = broker or section.broker
        host, port = ("", 0) if at is None else (at.host, at.port)
        park = CarPark(section, host, port, sensors, lines, broker)
        work = [asyncio.create_task(_publish(park, clock, ledger), name="publish")] if sensors else []
        if broker is not None and section.broker_restarts:
            restarts = _restart(broker, section.broker_restarts, clock, origin_ms)
            work.append(asyncio.create_task(restarts, name="broker restarts"))
        try:
            yield park
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


def make_sensors(section: CarParkSection, building: Building, origin_ms: int) -> list[SimulatedSensor]:
    """The sensors of a section, which publish nothing by themselves."""
    return [
        SimulatedSensor(
            device,
            profile=sensors.profile,
            building=building,
            application=section.application,
            origin_ms=origin_ms,
            faults=sensors.faults,
            alive_every_ms=sensors.alive_ms,
        )
        for sensors in section.sensors
        for device in sensors.ids
    ]


def messages(sensors: Iterable[SimulatedSensor]) -> Iterable[tuple[str, Message]]:
    """What all sensors publish, in the order of time, for ever: device and message."""
    streams = [_stream(sensor) for sensor in sensors]
    for _, device, message in heapq.merge(*streams, key=lambda each: each[:2]):
        yield device, message


def _stream(sensor: SimulatedSensor) -> Iterator[tuple[int, str, Message]]:
    for message in sensor.messages():
        yield message.at_ms, sensor.device, message


async def _publish(park: CarPark, clock: Clock, ledger: LedgerWriter | None) -> None:
    """Each message at its time, once and in order, however often the broker goes away."""
    waiting = iter(messages(park.sensors))
    up_next = next(waiting, None)
    while up_next is not None and not _is_cancelled():
        try:
            async with mqtt_client(park.host, park.port, timeout_s=PUBLISH_LIMIT_S) as client:
                while up_next is not None and not _is_cancelled():
                    device, message = up_next
                    await clock.sleep(max(0.0, (message.at_ms - clock.now_ms()) / 1000))
                    await client.publish(message.publication.topic, message.publication.body, qos=1)
                    park.published += 1
                    if ledger is not None:
                        write_down(ledger, device, message)
                    up_next = next(waiting, None)
        except aiomqtt.MqttError:
            await asyncio.sleep(RETRY_S)


def _is_cancelled() -> bool:
    """Whether this task is to end: the library waits by `asyncio.wait_for`, which may swallow that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def write_down(ledger: LedgerWriter, device: str, message: Message) -> None:
    """What a reader is to have learnt from one message."""
    if message.said:
        ledger.said(message.measured_ms, device, message.said, kept=True)
    if message.state is not None:
        ledger.happened(message.measured_ms, device, "bay.changed", {"state": message.state})


async def _restart(
    broker: LocalBroker, restarts: Sequence[RestartSection], clock: Clock, origin_ms: int
) -> None:
    for restart in sorted(restarts, key=lambda each: each.after_ms):
        await clock.sleep(max(0.0, (origin_ms + restart.after_ms - clock.now_ms()) / 1000))
        await broker.stop()
        await clock.sleep(restart.lasts_ms / 1000)
        await broker.start()


def _talker(
    line: ControllerLineSection,
    name: str,
    building: Building,
    origin_ms: int,
    clock: Clock,
    ledger: LedgerWriter | None,
) -> ControllerTalker:
    controllers = []
    for section in line.controllers:
        controller = SimulatedController(
            section.id,
            unit=section.unit,
            profile=profile_of(section.profile, ParkingControllerProfile),
            building=building,
            broken=section.broken,
            origin_ms=origin_ms,
            clock=clock,
        )
        for fault in section.faults:
            controller.faults.add(fault)
        controllers.append(controller)
    talker = ControllerTalker(
        controllers, name=name, seed=building.seed, origin_ms=origin_ms, clock=clock, ledger=ledger
    )
    for fault in line.faults:
        talker.faults.add(fault)
    return talker
