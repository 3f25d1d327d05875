"""The air of a building: an adapter with the devices around it, on a private bus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from models.errors import BadInput
from models.profile.ble import BleProfile
from models.profile.ble_formats import FORMATS
from models.times import Clock
from simulators.ble.air import Advert
from simulators.ble.bluez import BlueZ, bluez
from simulators.ble.devices import Advertiser, AskedMeter, Place
from simulators.ble.faults import AdapterFault
from simulators.ble.private_bus import private_bus
from simulators.ble.sections import BleDeviceSection, BleSection
from simulators.ble.senders import World
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.noise import chance, key_of
from simulators.profiles import profile_of

BUS_VARIABLE: Final = "DBUS_SYSTEM_BUS_ADDRESS"
"""The environment variable that makes bleak use a private bus."""

STRANGER_EVERY_S: Final = 2.0

Device = Advertiser | AskedMeter


class NoSuchDevice(BadInput):
    """There is no device of that id on the air."""


class RunningAir:
    """What is on the air at present."""

    def __init__(
        self, section: BleSection, bus_address: str, radio: BlueZ, devices: Sequence[Device]
    ) -> None:
        self.section, self.bus_address, self.bluez = section, bus_address, radio
        self.devices = tuple(devices)

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's process needs in its environment."""
        return {BUS_VARIABLE: self.bus_address}

    def advertiser(self, device_id: str) -> Advertiser:
        """A device that advertises what it measures. Raises NoSuchDevice."""
        for device in self.devices:
            if device.section.id == device_id and isinstance(device, Advertiser):
                return device
        raise NoSuchDevice(f"no device '{device_id}' advertises here")

    def meter(self, device_id: str) -> AskedMeter:
        """A device that is asked. Raises NoSuchDevice."""
        for device in self.devices:
            if device.section.id == device_id and isinstance(device, AskedMeter):
                return device
        raise NoSuchDevice(f"no device '{device_id}' is asked here")

    def buses(self, prefix: str) -> list[dict[str, Any]]:
        """The adapter as a bus of gateway.yaml."""
        return [{"id": f"{prefix}-radio", "ble": {"adapter": self.section.adapter}}]

    def devices_of(self, prefix: str, *, period_s: float | None = None) -> list[dict[str, Any]]:
        """All devices as devices of gateway.yaml; their keys are where `write_keys` puts them."""
        found = []
        for section in self.section.devices:
            facts = {"id": section.id, "name": section.id, "bus": f"{prefix}-radio"}
            facts |= {"address": section.address, "profile": section.profile}
            if section.key is not None:
                facts["key_file"] = key_file(section)
            found.append({**facts, "period_s": period_s or max(1.0, section.every_ms / 1000)})
        return found

    def write_keys(self, folder: Path) -> None:
        """Put the keys of all devices into files beside a gateway.yaml, for its owner alone."""
        for section in self.section.devices:
            if section.key is not None:
                file = folder / key_file(section)
                file.touch(mode=0o600)
                file.write_text(section.key + "\n")


def key_file(section: BleDeviceSection) -> str:
    return f"{section.id}.key"


@asynccontextmanager
async def running_air(
    section: BleSection,
    *,
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    socket: Path | None = None,
) -> AsyncIterator[RunningAir]:
    """Let the devices be on the air while the block runs. Raises NoDaemon."""
    life = building or Building(seed=seed)
    async with private_bus(socket) as bus_address, bluez(bus_address, section.adapter) as radio:
        devices = [_device(device, life, radio, clock, seed, origin_ms, ledger) for device in section.devices]
        work = [
            asyncio.create_task(device.run(), name=f"on the air {device.section.id}") for device in devices
        ]
        work += [
            asyncio.create_task(_fail(fault, radio, clock, origin_ms), name=f"adapter {fault.kind}")
            for fault in section.faults
        ]
        if section.strangers:
            work.append(asyncio.create_task(_strangers(section.strangers, radio, clock, seed)))
        try:
            yield RunningAir(section, bus_address, radio, devices)
        finally:
            for task in work:
                task.cancel()
            ended = await asyncio.gather(*work, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome


def _device(
    section: BleDeviceSection,
    building: Building,
    radio: BlueZ,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None,
) -> Device:
    profile = profile_of(section.profile, BleProfile)
    world = World(building, name=section.id, kw=section.load_kw, origin_ms=origin_ms)
    kind = Advertiser if FORMATS[profile.ble.format].over == "advert" else AskedMeter
    return kind(section, profile, Place(world, radio, clock, seed, ledger))


async def _fail(fault: AdapterFault, radio: BlueZ, clock: Clock, origin_ms: int) -> None:
    start_ms, end_ms = fault.window(origin_ms, clock.now_ms())
    await clock.sleep(max(0, start_ms - clock.now_ms()) / 1000)
    if fault.kind == "stalled":
        radio.stall(fault.cure)
        return
    radio.adapter.set_power(False)
    if end_ms is not None:
        await clock.sleep(max(0, end_ms - clock.now_ms()) / 1000)
        radio.adapter.set_power(True)


async def _strangers(count: int, radio: BlueZ, clock: Clock, seed: int) -> None:
    """Telephones, headphones and tags of people in the building."""
    turn = 0
    while True:
        await clock.sleep(STRANGER_EVERY_S)
        turn += 1
        for number in range(count):
            key = key_of(seed, "passer-by", number)
            digits = f"{key & 0xFFFFFFFFFF:010X}"
            address = "D0:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))
            content = bytes(round(255 * chance(key, turn * 32 + at)) for at in range(12))
            await radio.receive(address, Advert(makers={0x004C: content}, rssi=-80))
