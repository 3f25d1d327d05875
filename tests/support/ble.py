"""Bluetooth for tests: devices with a key, advertisements of raw bytes, and bleak on a private bus."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bleak.backends.bluezdbus import manager
from dbus_fast import Message

from drivers.ble.device import BleDevice
from drivers.ble.formats import patterns
from drivers.ble.frames import Advert
from drivers.ble.listener import BleListener
from drivers.ble.radio import Radio
from edge_agent.catalogue import Catalogue
from models.profile.ble import BleProfile
from models.reading import Reading
from models.times import Clock
from simulators.ble.running import BUS_VARIABLE, RunningAir, running_air
from simulators.ble.sections import BleDeviceSection, BleSection
from simulators.ledger import LedgerWriter
from tests.support.clocks import VirtualClock, settle
from tests.support.keeping_sink import PATIENCE_S, KeepingSink

ADDRESS = "54:48:E6:8F:80:A5"
KEY = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
RSSI = -61


def a_profile(name: str) -> BleProfile:
    profile = Catalogue().load(name)
    assert isinstance(profile, BleProfile)
    return profile


def a_device(
    profile: str | BleProfile,
    *,
    key: bytes | None = None,
    address: str = ADDRESS,
    period_s: float = 60,
    device_id: str = "d",
) -> BleDevice:
    return BleDevice(
        device_id=device_id,
        address=address,
        profile=a_profile(profile) if isinstance(profile, str) else profile,
        key=key,
        period_s=period_s,
        parameters={},
    )


def service(uuid: int, data: bytes | str, *, address: str = ADDRESS, rssi: int = RSSI) -> Advert:
    """An advertisement with service data."""
    return Advert(address, {uuid: bytes.fromhex(data) if isinstance(data, str) else data}, {}, rssi)


def maker(company: int, data: bytes | str, *, address: str = ADDRESS, rssi: int = RSSI) -> Advert:
    """An advertisement with manufacturer data."""
    return Advert(address, {}, {company: bytes.fromhex(data) if isinstance(data, str) else data}, rssi)


def bit_flips(data: bytes) -> Iterator[bytes]:
    """The same bytes with each of their bits changed in turn."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


@contextlib.asynccontextmanager
async def on_bus(address: str) -> AsyncIterator[None]:
    """bleak uses that bus while the block runs, and has nothing open afterwards."""
    before = os.environ.get(BUS_VARIABLE)
    os.environ[BUS_VARIABLE] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[BUS_VARIABLE]
        else:
            os.environ[BUS_VARIABLE] = before
        await close_bleak()


async def close_bleak() -> None:
    """End the connection that bleak keeps for as long as an event loop lives."""
    kept = manager._global_instances.pop(asyncio.get_running_loop(), None)
    if kept is None or kept._bus is None:
        return
    kept._bus.disconnect()
    if kept._bus_watcher_task is not None:
        await kept._bus_watcher_task


def a_listener(
    devices: Sequence[BleDevice], clock: Clock, scanning: Literal["active", "passive"] = "active"
) -> BleListener:
    formats = sorted({device.profile.ble.format for device in devices})
    sought = [pattern for name in formats for pattern in patterns(name)]
    return BleListener("radio", Radio("hci0", scanning, sought, clock), devices, clock)


@dataclass
class Rig:
    """Devices on the air and a listener that hears them, in one virtual time."""

    air: RunningAir
    time: VirtualClock
    sink: KeepingSink
    devices: list[BleDevice]
    listener: BleListener

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The listener runs while the block does, and scans already."""
        task = asyncio.create_task(self.listener.run(self.sink), name="listener")
        try:
            await self.scans()
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def restarted(self) -> None:
        """Another listener, as of an agent that was started again; its sink is the same."""
        self.devices = devices_of(self.air, self.devices[0].period_s)
        self.listener = a_listener(self.devices, self.time.clock)

    async def scans(self) -> None:
        """Wait until the adapter is discovering."""
        adapter, monitors = self.air.bluez.adapter, self.air.bluez.monitors
        await self.until(lambda: adapter.discoverers or monitors.monitors)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Let the outside work, while time stands still, until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await self.settled()

    async def play(self, seconds: float, *, step_s: float = 1.0) -> None:
        """Let so much time pass, and all that happens in it."""
        for _ in range(round(seconds / step_s)):
            await self.time.advance(step_s)
            await self.settled()

    async def settled(self) -> None:
        """All that BlueZ has said is heard: the answer to a question comes after it."""
        kept = manager._global_instances.get(asyncio.get_running_loop())
        if kept is not None and kept._bus is not None and kept._bus.connected:
            with contextlib.suppress(EOFError, ConnectionError):
                await kept._bus.call(
                    Message(
                        destination="org.bluez",
                        path="/",
                        interface="org.freedesktop.DBus.Peer",
                        member="Ping",
                    )
                )
        else:
            await asyncio.sleep(0.001)
        await settle()

    def readings(self, device: str, point: str) -> list[Reading]:
        """Of one point, in the order in which they were put."""
        return [
            item
            for item in self.sink.items
            if isinstance(item, Reading) and (item.device_id, item.point) == (device, point)
        ]

    def values(self, device: str, point: str) -> list[float | None]:
        return [reading.value for reading in self.readings(device, point)]


def devices_of(air: RunningAir, period_s: float) -> list[BleDevice]:
    """What a gateway is configured with to hear all that is on the air."""
    return [
        a_device(
            section.profile,
            key=None if section.key is None else bytes.fromhex(section.key),
            address=section.address,
            period_s=period_s,
            device_id=section.id,
        )
        for section in air.section.devices
    ]


@contextlib.asynccontextmanager
async def a_rig(
    *sections: BleDeviceSection,
    scanning: Literal["active", "passive"] = "active",
    period_s: float = 10,
    ledger: LedgerWriter | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """Devices on the air of a private bus, and a listener that is not yet running."""
    time = VirtualClock()
    section = BleSection(devices=sections, **more)
    async with (
        running_air(section, clock=time.clock, seed=7, origin_ms=time.now_ms(), ledger=ledger) as air,
        on_bus(air.bus_address),
    ):
        devices = devices_of(air, period_s)
        yield Rig(air, time, KeepingSink(), devices, a_listener(devices, time.clock, scanning))
