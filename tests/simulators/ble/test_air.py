"""BlueZ's interface as bleak sees it, devices that misbehave, and the same trace for the same seed."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError

from models.document import Mistake
from simulators.ble.air import Advert
from simulators.ble.bluez import BluezTaken, bluez
from simulators.ble.faults import AdapterFault, BleFault
from simulators.ble.meters import JBD_NOTIFY, JBD_QUESTION, JBD_WRITE
from simulators.ble.private_bus import NoDaemon, private_bus
from simulators.ble.running import NoSuchDevice, RunningAir, running_air
from simulators.ble.sections import BleDeviceSection, BleSection, find_mistakes
from simulators.ledger import LedgerWriter, produced
from tests.support.ble import on_bus
from tests.support.clocks import START_MS, VirtualClock
from tests.support.keeping_sink import PATIENCE_S
from tests.support.needs import needs_dbus

SECRET = "0123456789abcdef0123456789abcdef"
METER = BleDeviceSection(id="m", address="A4:C1:38:00:00:01", profile="bthome-meter", key=SECRET)
BATTERY = BleDeviceSection(id="b", address="A4:C1:38:00:00:02", profile="jbd-bms")
UUID = "0000{:04x}-0000-1000-8000-00805f9b34fb"


class Heard:
    """What a scanner of bleak has heard."""

    def __init__(self) -> None:
        self.adverts: list[tuple[BLEDevice, AdvertisementData]] = []
        self._news = asyncio.Event()

    def __call__(self, device: BLEDevice, data: AdvertisementData) -> None:
        self.adverts.append((device, data))
        self._news.set()

    async def at_least(self, count: int) -> list[tuple[BLEDevice, AdvertisementData]]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.adverts) < count:
                self._news.clear()
                await self._news.wait()
        return self.adverts


async def until(is_so: Callable[[], object]) -> None:
    """Let the other side of the bus work until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # what is waited for rings no bell
            await asyncio.sleep(0)


@needs_dbus
async def test_an_advertisement_comes_as_it_was_sent() -> None:
    heard = Heard()
    sent = Advert({0xFCD2: b"\x40\x01\x64"}, {0x0499: b"\x05"}, (0x181A,), -71)
    async with private_bus() as address, bluez(address) as radio, on_bus(address):
        radio.know("A4:C1:38:00:00:01", "thermometer")
        assert not await radio.receive("A4:C1:38:00:00:01", sent)  # nobody scans
        async with BleakScanner(heard):
            assert await radio.receive("A4:C1:38:00:00:01", sent)
            [(device, data)] = await heard.at_least(1)
    assert (device.address, device.name, data.rssi) == ("A4:C1:38:00:00:01", "thermometer", -71)
    assert data.service_data == {UUID.format(0xFCD2): b"\x40\x01\x64"}
    assert data.manufacturer_data == {0x0499: b"\x05"}
    assert data.service_uuids == [UUID.format(0x181A)]


@needs_dbus
async def test_a_discovery_ends_with_its_client() -> None:
    async with private_bus() as address, bluez(address) as radio:
        async with on_bus(address):
            scanner = BleakScanner(Heard())
            await scanner.start()
            assert radio.adapter.discoverers
        await until(lambda: not radio.adapter.discoverers)


@needs_dbus
async def test_a_second_owner_of_bluez_is_refused() -> None:
    async with private_bus() as address, bluez(address):
        with pytest.raises(BluezTaken):
            async with bluez(address):
                pass


async def test_a_missing_daemon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoDaemon, match="install Debian's package dbus-daemon"):
        async with private_bus():
            pass


@needs_dbus
async def test_an_adapter_without_power_cannot_scan() -> None:
    async with private_bus() as address, bluez(address) as radio, on_bus(address):
        radio.adapter.set_power(False)
        with pytest.raises(BleakDBusError, match="NotReady"):
            await BleakScanner(Heard(), bluez={"adapter": "hci0"}).start()


@needs_dbus
@pytest.mark.parametrize("cure", ["scan", "power"])
async def test_a_stalled_discovery_says_nothing_until_it_is_cured(cure: Any) -> None:
    async with private_bus() as address, bluez(address) as radio, on_bus(address):
        scanner = BleakScanner(Heard())
        await scanner.start()
        radio.stall(cure)
        assert not await radio.receive("A4:C1:38:00:00:01", Advert())
        await scanner.stop()
        await scanner.start()
        assert await radio.receive("A4:C1:38:00:00:01", Advert()) is (cure == "scan")
        if cure == "power":
            radio.adapter.set_power(False)
            radio.adapter.set_power(True)
            await scanner.start()
            assert await radio.receive("A4:C1:38:00:00:01", Advert())
        await scanner.stop()


@needs_dbus
async def test_a_battery_answers_over_gatt_and_a_lost_link_shows() -> None:
    clock = VirtualClock()
    heard, pieces, gone = Heard(), list[bytes](), asyncio.Event()
    section = BleSection(devices=(BATTERY,))
    async with (
        running_air(section, clock=clock.clock, seed=1, origin_ms=clock.now_ms()) as air,
        on_bus(air.bus_address),
        BleakScanner(heard),
    ):
        await clock.advance(6)
        device, _ = (await heard.at_least(1))[0]
        client = BleakClient(device, disconnected_callback=lambda _: gone.set())
        await client.connect()
        await client.start_notify(UUID.format(JBD_NOTIFY), lambda _, data: pieces.append(bytes(data)))
        await client.write_gatt_char(UUID.format(JBD_WRITE), JBD_QUESTION)
        await until(lambda: pieces and pieces[-1][-1:] == b"\x77")
        assert [len(piece) <= 20 for piece in pieces] == [True] * len(pieces)
        assert b"".join(pieces)[:3] == b"\xdd\x03\x00"
        with pytest.raises(BleakError):
            await client.read_gatt_char(UUID.format(JBD_NOTIFY))
        shown = air.bluez.device(BATTERY.address)
        assert shown is not None
        shown.drop()
        async with asyncio.timeout(PATIENCE_S):
            await gone.wait()
        await client.disconnect()


async def trace(tmp_path: Path, name: str, seed: int) -> list[tuple[str, str, float, int]]:
    """What the ledger says of five minutes with all kinds of faults."""
    clock = VirtualClock()
    path = tmp_path / name
    ledger = LedgerWriter(path, scenario="air", seed=seed, start_ms=START_MS)
    kinds = (
        "lost",
        "duplicate",
        "replayed",
        "wrong_key",
        "downgrade",
        "garbage",
        "foreign",
        "counter_reset",
        "reboot",
    )
    faults = tuple(BleFault.model_validate({"kind": kind, "probability": 0.05}) for kind in kinds)
    faults += (BleFault(kind="jump", by=100, probability=0.1),)
    section = BleSection(devices=(METER.model_copy(update={"faults": faults}),), strangers=2)
    async with (
        running_air(section, clock=clock.clock, seed=seed, origin_ms=START_MS, ledger=ledger) as air,
        on_bus(air.bus_address),
        BleakScanner(Heard()),
    ):
        for _ in range(300):
            await clock.advance(1)
    ledger.close()
    return [(value.meter_id, value.point, value.value, value.served_ms) for value in produced(path)]


@needs_dbus
async def test_the_same_seed_gives_the_same_trace_and_another_one_another(tmp_path: Path) -> None:
    first, again = await trace(tmp_path, "a", 3), await trace(tmp_path, "b", 3)
    assert first == again
    assert len(first) > 100
    assert await trace(tmp_path, "c", 4) != first


@needs_dbus
async def test_a_jump_is_said_as_it_is_shown(tmp_path: Path) -> None:
    values = [value for _, point, value, _ in await trace(tmp_path, "a", 3) if point == "energy_import_kwh"]
    assert max(values) - min(values) > 99


@needs_dbus
async def test_an_adapter_loses_its_power_and_has_it_again() -> None:
    clock = VirtualClock()
    fault = AdapterFault.model_validate({"kind": "adapter_off", "after": "10s", "for": "20s"})
    section = BleSection(devices=(METER,), faults=(fault,))
    async with running_air(section, clock=clock.clock, seed=1, origin_ms=START_MS) as air:
        powered = []
        for _ in range(4):
            powered.append(air.bluez.adapter.is_powered)
            await clock.advance(10.5)
    assert powered == [True, False, False, True]


@needs_dbus
async def test_a_gateway_is_told_what_it_needs(tmp_path: Path) -> None:
    clock = VirtualClock()
    section = BleSection(devices=(METER, BATTERY))
    async with running_air(section, clock=clock.clock, seed=1, origin_ms=START_MS) as air:
        air.write_keys(tmp_path)
        assert air.environment == {"DBUS_SYSTEM_BUS_ADDRESS": air.bus_address}
        assert air.buses("a") == [{"id": "a-radio", "ble": {"adapter": "hci0"}}]
        assert [device.get("key_file") for device in air.devices_of("a")] == ["m.key", None]
        with pytest.raises(NoSuchDevice):
            air.advertiser("b")
        assert isinstance(air, RunningAir)
    assert (tmp_path / "m.key").read_text() == SECRET + "\n"
    assert (tmp_path / "m.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ([METER, METER.model_copy(update={"id": "n"})], "A4:C1:38:00:00:01 stands above already"),
        ([METER, BATTERY.model_copy(update={"id": "m"})], "a device 'm' stands above already"),
        ([METER.model_copy(update={"key": None})], "is missing"),
        ([BATTERY.model_copy(update={"key": SECRET})], "jbd-bms has no key"),
        ([METER.model_copy(update={"profile": "no-such"})], "there is no profile 'no-such'"),
        ([METER.model_copy(update={"profile": "eastron-sdm630"})], "is no Bluetooth device"),
        (
            [BATTERY.model_copy(update={"faults": (BleFault(kind="replayed"),)})],
            "'replayed' cannot be noticed, for jbd-bms proves nothing",
        ),
        (
            [BATTERY.model_copy(update={"faults": (BleFault(kind="foreign"),)})],
            "'foreign' is of advertisements, and jbd-bms is asked",
        ),
    ],
)
def test_a_mistake_in_a_section_is_told(devices: list[BleDeviceSection], told: str) -> None:
    found: list[Mistake] = list(find_mistakes(BleSection(devices=tuple(devices))))
    assert told in "\n".join(mistake.what for mistake in found)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "jump"}, {"kind": "lost", "by": 3}, {"kind": "lost", "lasts": "3s"}, {"kind": "reboot"}],
)
def test_a_fault_needs_what_it_needs(fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"jump|reboot"):
        BleFault.model_validate(fault)


@needs_dbus
async def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    program = "import typer; from simulators.ble.command import ble; typer.run(ble)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "--profile", "bthome-meter", "--profile", "atorch-ac",
        "--every", "0.2", "--keys", str(tmp_path), "--ledger", str(tmp_path / "said"), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    told = msgspec.json.decode(await process.stdout.readline())
    assert [device["profile"] for device in told["devices"]] == ["bthome-meter", "atorch-ac"]
    heard = Heard()
    async with on_bus(told["environment"]["DBUS_SYSTEM_BUS_ADDRESS"]), BleakScanner(heard):
        await heard.at_least(3)
    process.terminate()
    _, err = await process.communicate()
    assert process.returncode == 0
    assert err == b"stopped\n"
    assert (tmp_path / "bthome-meter-1.key").exists()
    assert list(produced(tmp_path / "said"))
