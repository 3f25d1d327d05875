"""A simulated device of any profile that is asked on a line, and the driver that asks it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypedDict

from drivers.cjt188.driver import make_driver as make_cjt188
from drivers.contract import TracedDriver
from drivers.dlt645.driver import make_driver as make_dlt645
from drivers.line import Line
from drivers.modbus.driver import make_driver as make_modbus
from drivers.modbus.rtu_link import RtuLink
from drivers.parking.controller import ParkingControllerDriver
from models.profile.cjt188 import Cjt188Profile
from models.profile.dlt645 import Dlt645Profile
from models.profile.modbus import ModbusProfile
from models.profile.parking_controller import ParkingControllerProfile
from models.times import Clock
from simulators.building import Building
from simulators.cjt188.meter import Cjt188Meter
from simulators.cjt188.talker import Cjt188Talker
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.talker import Dlt645Talker
from simulators.line.running import running_line
from simulators.line.sections import LineSection
from simulators.line.talker import MeterTalker
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.talker import RtuTalker
from simulators.parking.controller import ControllerTalker, SimulatedController

SEED: Final = 1
CLOCK: Final = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)
BUILDING: Final = Building(seed=SEED)
UNIT: Final = 1
DLT645_ADDRESS: Final = "000000300101"
CJT188_ADDRESS: Final = "33780011223344"

Polled = ModbusProfile | Dlt645Profile | Cjt188Profile | ParkingControllerProfile
"""The profiles whose devices are asked on a line."""


class _Load(TypedDict):
    building: Building
    kw: float
    origin_ms: int
    now_ms: Any


def meter(profile: ModbusProfile, unit: int = UNIT) -> ModbusMeter:
    """One simulated Modbus unit."""
    return ModbusMeter(f"meter-{unit}", unit=unit, profile=profile, **_load())


def units(meters: Iterable[ModbusMeter]) -> RtuTalker:
    """The simulated units of one line."""
    return RtuTalker(list(meters), **_about())


def talker_of(profile: Polled) -> MeterTalker[Any, Any]:
    """One simulated device of that profile, as it is on a line."""
    match profile:
        case ModbusProfile():
            return units([meter(profile)])
        case Dlt645Profile():
            dlt645 = Dlt645Meter("meter", address=DLT645_ADDRESS, profile=profile, **_load())
            return Dlt645Talker([dlt645], **_about())
        case Cjt188Profile():
            cjt188 = Cjt188Meter("meter", address=CJT188_ADDRESS, profile=profile, **_load())
            return Cjt188Talker([cjt188], **_about())
        case ParkingControllerProfile():
            controller = SimulatedController(
                "controller",
                unit=UNIT,
                profile=profile,
                building=BUILDING,
                broken=(),
                origin_ms=CLOCK.now_ms(),
                clock=CLOCK,
            )
            return ControllerTalker([controller], **_about())


def driver_of(profile: Polled, line: Line) -> TracedDriver:
    """What reads the device of `talker_of`."""
    given: dict[str, Any] = {"device_id": "d", "parameters": {}, "clock": CLOCK}
    match profile:
        case ModbusProfile():
            return make_modbus(profile=profile, unit=UNIT, link=RtuLink(line), **given)
        case Dlt645Profile():
            return make_dlt645(profile=profile, address=DLT645_ADDRESS, line=line, **given)
        case Cjt188Profile():
            return make_cjt188(profile=profile, address=CJT188_ADDRESS, line=line, **given)
        case ParkingControllerProfile():
            return ParkingControllerDriver(profile=profile, unit=UNIT, line=line, **given)


@asynccontextmanager
async def pseudo_terminal(
    talker: MeterTalker[Any, Any], *, baud: int | None = None, turnaround_ms: int = 0
) -> AsyncIterator[str]:
    """The path of a line with these devices. `baud` None: bytes take no time."""
    section = LineSection(baud=baud, turnaround_ms=turnaround_ms)
    async with running_line(section, [talker], clock=CLOCK) as line:
        yield line.path


def _load() -> _Load:
    return {"building": BUILDING, "kw": 20.0, "origin_ms": CLOCK.now_ms(), "now_ms": CLOCK.now_ms}


def _about() -> dict[str, Any]:
    return {"name": "line", "seed": SEED, "origin_ms": CLOCK.now_ms(), "clock": CLOCK}
