"""What a reading costs in each family, from the bytes of the wire to what a driver hands over.

Run as a module it is the process that is measured: it asks devices that another process simulates, or takes
what a simulated sender said before. Nothing is stored or sent on; `bench.edge` measures that.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Final

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient

from bench.meters import PROFILE_FILE, REGISTERS, meter20
from bench.polled import BUILDING, CLOCK, SEED, UNIT, driver_of
from bench.wall import polled
from demo.processes import Part, module
from drivers.access.heard import VendorEvent, read_message
from drivers.access.intake import Intake
from drivers.access.normalise import Site
from drivers.access.parts import PartReader, boundary_of
from drivers.ble.device import BleDevice
from drivers.ble.frames import Advert
from drivers.contract import Driver
from drivers.line import SerialLine
from drivers.modbus.driver import make_driver as make_modbus
from drivers.modbus.tcp import ModbusTcpLink
from drivers.parking.messages import read_message as read_uplink
from drivers.parking.sensor import Sensor
from models.profile.access import AccessProfile
from models.profile.ble import BleProfile
from models.profile.parking_sensor import ParkingSensorProfile
from models.pseudonym import KEY_BYTES, Pseudonymiser
from models.reading import Event, Item, Quality, Reading
from models.times import DAY_MS
from simulators.access import messages as door_messages
from simulators.access.codes import CODES
from simulators.access.log import Log
from simulators.access.people import day_of_doors, staff
from simulators.ble.senders import SENDERS, World
from simulators.parking.sensor import SimulatedSensor
from simulators.profiles import profile_of

ROUNDS: Final = 3
ASK_S: Final = 0.6  # in each round, of each family that is asked
MESSAGES: Final = 2000  # in each round, of each family that speaks by itself
BAUD: Final = 115_200  # so that the silence before each request, which costs nothing, is short
LINES: Final = {
    "Modbus RTU": PROFILE_FILE.stem,
    "DL/T 645": "dlt645-three-phase",
    "CJ/T 188": "cjt188-heat",
}
"""What is asked on a line, by family."""

BLE_PROFILE: Final = "bthome-meter"
BLE_ADDRESS: Final = "54:48:E6:8F:80:A5"
BLE_KEY: Final = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
DOOR_PROFILE: Final = "hikvision-access"
DOOR_DAYS: Final = 30  # more than enough for so many events
PARKING_PROFILE: Final = "milesight-em310-udl"
PARKING_FROM_MS: Final = 1_767_225_600_000  # 2026


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time for each reading or event."""

    family: str
    counted: str  # what stands between bytes and readings
    us: float
    bare_us: float | None = None  # of pymodbus reading the same registers


async def measure() -> list[Cost]:
    """Runs twenty seconds, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        reader = Part("reader", module("bench.families"), Path(name) / "reader.log")
        await reader.start()
        try:
            return [Cost(**cost) for cost in await reader.first_line()]
        finally:
            await reader.stop()


async def _measured(folder: Path) -> list[Cost]:
    rack = Part("rack", module("bench.meters", "1", "1"), folder / "rack.log")
    wall = Part("wall", module("bench.wall", *LINES.values()), folder / "wall.log")
    try:
        for part in (rack, wall):
            await part.start()
        [port] = (await rack.first_line())["ports"]
        paths = (await wall.first_line())["paths"]
        return [await _tcp(port), *[await _line(family, paths) for family in LINES], *await _heard()]
    finally:
        for part in (rack, wall):
            await part.stop()


# --- devices that are asked


async def _tcp(port: int) -> Cost:
    link = ModbusTcpLink("127.0.0.1", port, clock=CLOCK)
    driver = make_modbus(device_id="d", profile=meter20(), unit=UNIT, link=link, parameters={}, clock=CLOCK)
    bare = AsyncModbusTcpClient("127.0.0.1", port=port)
    return await _beside_bare("Modbus TCP", driver, bare)


async def _line(family: str, paths: Mapping[str, str]) -> Cost:
    profile = polled(LINES[family])
    path = paths[profile.profile]
    driver = driver_of(profile, SerialLine(path, baud=BAUD, clock=CLOCK))
    if family == "Modbus RTU":
        return await _beside_bare(family, driver, AsyncModbusSerialClient(path, baudrate=BAUD))
    us = min([await _asked(driver) for _ in range(ROUNDS)])
    return Cost(family, f"{profile.profile}, {len(profile.points)} points", us)


async def _beside_bare(family: str, driver: Driver, bare: ModbusBaseClient) -> Cost:
    """In turn, for a port can be open once only."""
    rounds = [(await _asked(driver), await _asked_barely(bare)) for _ in range(ROUNDS)]
    return Cost(family, f"{REGISTERS} registers in one request", *map(min, zip(*rounds, strict=True)))


async def _asked(driver: Driver) -> float:
    async def ask() -> int:
        readings = await driver.read()
        if any(reading.quality is Quality.BAD for reading in readings):
            raise RuntimeError(f"{readings[0].device_id}: not all of it was read")
        return len(readings)

    await driver.open()
    try:
        return await _us_each(ask)
    finally:
        await driver.close()


async def _asked_barely(client: ModbusBaseClient) -> float:
    async def ask() -> int:
        reply = await client.read_holding_registers(0, count=REGISTERS, device_id=UNIT)
        if reply.isError() or len(reply.registers) != REGISTERS:
            raise RuntimeError(f"unexpected reply: {reply}")
        return REGISTERS

    if not await client.connect():
        raise RuntimeError("no connection to the simulated meters")
    try:
        return await _us_each(ask)
    finally:
        client.close()


async def _us_each(ask: Callable[[], Awaitable[int]]) -> float:
    """Processor time of this process for each reading, while it asks without a pause."""
    await ask()
    readings, began_s, used_s = 0, time.monotonic(), time.process_time()
    while time.monotonic() < began_s + ASK_S:
        readings += await ask()
    return 1e6 * (time.process_time() - used_s) / readings


# --- devices that speak by themselves: their bytes are made before


async def _heard() -> list[Cost]:
    adverts, bodies, uplinks = list(_adverts()), list(_door_bodies()), list(_uplinks())
    ble = min(_ble(adverts) for _ in range(ROUNDS))
    doors = min([await _doors(bodies) for _ in range(ROUNDS)])
    parking = min(_parking(uplinks) for _ in range(ROUNDS))
    return [
        Cost("BLE", "sealed BTHome advertisement: opened, decoded, checked for replay", ble),
        Cost("Doors", "body of an ISAPI push: read, checked for loss, normalised; each event", doors),
        Cost("Parking", "ChirpStack uplink: JSON, counter, payload", parking),
    ]


def _adverts() -> Iterator[Advert]:
    """A second of the building between two of them."""
    began_ms = CLOCK.now_ms()
    sender = SENDERS[BLE_PROFILE](World(BUILDING, name="d", kw=20, origin_ms=began_ms), BLE_ADDRESS)
    for number in range(MESSAGES):
        measured = sender.measure(began_ms + 1000 * number, number)
        sent = sender.frame(measured, number, BLE_KEY)
        yield Advert(BLE_ADDRESS, sent.services, sent.makers, sent.rssi)


def _ble(adverts: Sequence[Advert]) -> float:
    device = BleDevice(
        device_id="d",
        address=BLE_ADDRESS,
        profile=profile_of(BLE_PROFILE, BleProfile),
        key=BLE_KEY,
        period_s=1,
        parameters={},
    )
    now_ms, readings = CLOCK.now_ms(), 0
    used_s = time.process_time()
    for second, advert in enumerate(adverts):
        heard = device.hear(advert, now_ms + 1000 * second, float(second))
        readings += sum(isinstance(item, Reading) for item in heard.items)
    return _us_of(time.process_time() - used_s, readings, at_least=3 * len(adverts))


def _door_bodies() -> Iterator[tuple[str, bytes]]:
    """What a controller of two doors pushes in some days, with a small picture of whoever is known."""
    people, log, zone = staff(SEED, 50), Log(MESSAGES), BUILDING.utc_offset_ms
    today = CLOCK.now_ms() // DAY_MS
    deeds = (
        deed
        for day in range(today - DOOR_DAYS, today)
        for deed in day_of_doors(BUILDING, people, doors=2, day=day)
    )
    for deed in islice(deeds, MESSAGES):
        code = CODES["isapi"][deed.what]
        entry = log.write(deed.what, code, deed.at_ms, deed.door, deed.person)
        fields = door_messages.event(entry, address="192.0.2.1", offset_ms=zone, is_current=True)
        make = door_messages.body if entry.person is None else door_messages.with_picture
        yield make(fields, "json")


async def _doors(bodies: Sequence[tuple[str, bytes]]) -> float:
    profile = profile_of(DOOR_PROFILE, AccessProfile)
    sink = _Counting()
    people = Pseudonymiser(bytes(range(KEY_BYTES)))
    intake = Intake("d", profile, Site({1: "north", 2: "south"}, {}), people, CLOCK)
    await intake.begin(sink)
    intake.is_sure = True  # as after a look at the log
    zone = timezone(timedelta(milliseconds=BUILDING.utc_offset_ms))
    used_s = time.process_time()
    for kind, body in bodies:
        boundary = boundary_of(kind)
        texts = [body] if boundary is None else [part.text or b"" for part in PartReader(boundary).feed(body)]
        heard = [event for text in texts for event in read_message(text, zone)]
        await intake.take([event for event in heard if isinstance(event, VendorEvent)], from_log=False)
    used_s = time.process_time() - used_s
    return _us_of(used_s, sink.events, at_least=len(bodies))


def _uplinks() -> Iterator[tuple[str, bytes]]:
    """Of one bay, some weeks of it."""
    sensor = _simulated_sensor()
    for message in islice(sensor.messages(), MESSAGES):
        yield message.publication.topic, message.publication.body


def _simulated_sensor() -> SimulatedSensor:
    return SimulatedSensor(
        "d", profile=PARKING_PROFILE, building=BUILDING, application="1", origin_ms=PARKING_FROM_MS
    )


def _parking(uplinks: Sequence[tuple[str, bytes]]) -> float:
    profile = profile_of(PARKING_PROFILE, ParkingSensorProfile)
    sensor = Sensor("d", _simulated_sensor().dev_eui, profile, {}, 600.0)
    sensor.restore(None, PARKING_FROM_MS, 0.0)
    readings = 0
    used_s = time.process_time()
    for topic, body in uplinks:
        heard = read_uplink(topic, body)
        at_ms = heard.time_ms or PARKING_FROM_MS
        items = sensor.take(heard, at_ms, at_ms, at_ms / 1000)
        readings += sum(isinstance(item, Reading) for item in items)
    return _us_of(time.process_time() - used_s, readings, at_least=2 * len(uplinks))


def _us_of(used_s: float, readings: int, *, at_least: int) -> float:
    if readings < at_least:
        raise RuntimeError(f"only {readings} readings came of what brings {at_least}")
    return 1e6 * used_s / readings


class _Counting:
    """A `Sink` that counts events."""

    def __init__(self) -> None:
        self.events = 0

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        self.events += sum(isinstance(item, Event) for item in items)

    async def marks(self, prefix: str) -> dict[str, str]:
        return {}


async def _main() -> None:
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        json.dump([asdict(cost) for cost in await _measured(Path(name))], sys.stdout)
        print(flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
