"""Runs what a building has beside racks of Modbus TCP meters, family by family."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.times import Clock
from simulators.access.controller import running_controller
from simulators.access.readers import running_line
from simulators.access.sections import DoorControllerSection, OsdpLineSection
from simulators.ble.running import running_air
from simulators.ble.sections import BleSection
from simulators.building import Building
from simulators.cjt188.line import running_cjt188
from simulators.cjt188.sections import Cjt188LineSection
from simulators.dlt645.line import running_dlt645
from simulators.dlt645.sections import Dlt645LineSection
from simulators.ledger import LedgerWriter
from simulators.line.serial import Sleep
from simulators.modbus.line import running_modbus_line
from simulators.modbus.sections import ModbusLineSection
from simulators.parking.running import running_car_park
from simulators.parking.sections import CarParkSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every part of a scenario is handed."""

    building: Building
    clock: Clock
    seed: int
    origin_ms: int
    ledger: LedgerWriter | None
    wire_sleep: Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One part that runs, and what a gateway must be told to read it."""

    name: str
    buses: list[dict[str, Any]]
    devices: list[dict[str, Any]]
    environment: Mapping[str, str] = field(default_factory=dict)  # of the gateway's process
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # files beside gateway.yaml
    running: Any = None  # what the family calls it


Run = Callable[[Any, str, Setting], AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def _modbus(section: ModbusLineSection, name: str, at: Setting) -> AsyncIterator[Served]:
    async with running_modbus_line(section, name=name, **_meters(at)) as line:
        yield Served(name=name, buses=[line.bus(name)], devices=line.devices(name), running=line)


@asynccontextmanager
async def _dlt645(section: Dlt645LineSection, name: str, at: Setting) -> AsyncIterator[Served]:
    async with running_dlt645(section, name=name, **_meters(at)) as line:
        yield Served(name=name, buses=[line.bus(name)], devices=line.devices(name), running=line)


@asynccontextmanager
async def _cjt188(section: Cjt188LineSection, name: str, at: Setting) -> AsyncIterator[Served]:
    async with running_cjt188(section, name=name, **_meters(at)) as line:
        yield Served(name=name, buses=[line.bus(name)], devices=line.devices(name), running=line)


@asynccontextmanager
async def _radio(section: BleSection, name: str, at: Setting) -> AsyncIterator[Served]:
    given = _meters(at)
    del given["wire_sleep"]
    socket = None if section.socket is None else Path(section.socket)
    async with running_air(section, socket=socket, **given) as air:
        keys = {f"{device.id}.key": device.key for device in section.devices if device.key is not None}
        yield Served(
            name=name,
            buses=air.buses(name),
            devices=air.devices_of(name),
            environment=air.environment,
            secrets=keys,
            running=air,
        )


@asynccontextmanager
async def _car_park(section: CarParkSection, name: str, at: Setting) -> AsyncIterator[Served]:
    async with running_car_park(section, **_meters(at)) as park:
        yield Served(name=name, buses=park.buses(name), devices=park.devices(name), running=park)


@asynccontextmanager
async def _doors(section: DoorControllerSection, name: str, at: Setting) -> AsyncIterator[Served]:
    given = _meters(at)
    del given["wire_sleep"]
    async with running_controller(section, **given) as controller:
        yield Served(
            name=name,
            buses=controller.buses(name),
            devices=controller.devices(name),
            secrets=controller.secret_files,
            running=controller,
        )


@asynccontextmanager
async def _readers(section: OsdpLineSection, name: str, at: Setting) -> AsyncIterator[Served]:
    async with running_line(
        section, clock=at.clock, seed=at.seed, origin_ms=at.origin_ms, ledger=at.ledger
    ) as line:
        yield Served(
            name=name,
            buses=line.buses(name),
            devices=line.devices(name),
            secrets=line.secret_files,
            running=line,
        )


def _meters(at: Setting) -> dict[str, Any]:
    return {
        "building": at.building,
        "clock": at.clock,
        "seed": at.seed,
        "origin_ms": at.origin_ms,
        "ledger": at.ledger,
        "wire_sleep": at.wire_sleep,
    }


RUN: Mapping[str, Run] = {
    "modbus_lines": _modbus,
    "dlt645_lines": _dlt645,
    "cjt188_lines": _cjt188,
    "radios": _radio,
    "car_parks": _car_park,
    "door_controllers": _doors,
    "osdp_lines": _readers,
}
"""By the key of its list in a scenario file."""


def write_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    """Put what a gateway must know into files beside its gateway.yaml, for its owner alone."""
    for name, secret in secrets.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(secret + "\n")
