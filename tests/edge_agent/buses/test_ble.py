"""A gateway with Bluetooth, from its configuration to its buffer and over restarts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.buses import Tools, make_buses
from edge_agent.config import load_config
from edge_agent.sink import BufferSink
from models.document import DocumentMistakes
from models.reading import Event, Item, Reading
from simulators.ble.faults import BleFault
from simulators.ble.sections import BleDeviceSection
from tests.support.ble import Rig, a_rig
from tests.support.items import Sealer, drain
from tests.support.needs import needs_dbus

SECRET = "0123456789abcdef0123456789abcdef"
METER = BleDeviceSection(id="m-1", address="A4:C1:38:00:00:01", profile="bthome-meter", key=SECRET)
TAG = BleDeviceSection(id="t-1", address="A4:C1:38:00:00:02", profile="ruuvitag")


def write_config(folder: Path, *devices: str) -> Path:
    file = folder / "gateway.yaml"
    file.write_text("\n".join(["buses:", "  - {id: radio, ble: {}}", "devices:", *devices]))
    return file


def a_line(section: BleDeviceSection, **more: object) -> str:
    key = f"key_file: {section.id}.key, " if section.key else ""
    facts = f"id: {section.id}, bus: radio, address: '{section.address}', profile: {section.profile}"
    extra = "".join(f", {name}: {value}" for name, value in more.items())
    return f"  - {{{facts}, {key}period_s: 10{extra}}}"


@contextlib.asynccontextmanager
async def gateway(rig: Rig, file: Path, buffer: SqliteBuffer) -> AsyncIterator[None]:
    """The buses of the configuration at work, with the buffer as their sink."""
    sink = BufferSink(buffer, rig.time.clock)
    [bus] = make_buses(load_config(file), Tools(sink=sink, clock=rig.time.clock))
    task = asyncio.create_task(bus.run())
    try:
        await rig.scans()
        yield
    finally:
        bus.stop()
        await task


def energy(items: Sequence[Item]) -> list[tuple[int, float | None]]:
    return [
        (item.measured_ms, item.value)
        for item in items
        if isinstance(item, Reading) and item.point == "energy_import_kwh"
    ]


@needs_dbus
async def test_a_replay_after_a_restart_changes_no_byte_of_what_was_stored(
    tmp_path: Path, buffer: SqliteBuffer, sealer: Sealer
) -> None:
    file = write_config(tmp_path, a_line(METER), a_line(TAG))
    async with a_rig(METER, TAG) as rig:
        rig.air.write_keys(tmp_path)
        async with gateway(rig, file, buffer):
            await rig.play(60)
        for device in (METER, TAG):
            rig.air.advertiser(device.id).faults.add(BleFault(kind="lost"))
        async with gateway(rig, file, buffer):
            for device in (METER, TAG):
                for advert in rig.air.advertiser(device.id).recorded:
                    await rig.air.advertiser(device.id).replay(advert)
                    await rig.settled()
        await rig.settled()
        items = await drain(await buffer.outbox("main"), sealer)
        assert len(energy(items)) == len(set(energy(items))) == 12
        temperatures = [item for item in items if isinstance(item, Reading) and item.device_id == TAG.id]
        assert len(temperatures) == 12 * 6
        kinds = [item.kind for item in items if isinstance(item, Event)]
        assert kinds == ["ble.counter_started", "device.refused"]
        assert SECRET not in repr(items)
        assert SECRET not in repr(await buffer.marks("ble/"))


@needs_dbus
async def test_a_key_file_that_is_put_right_is_read_again(
    tmp_path: Path, buffer: SqliteBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_config(tmp_path, a_line(METER))
    (tmp_path / "m-1.key").write_text("abcd")
    async with a_rig(METER) as rig:
        sink = BufferSink(buffer, rig.time.clock)
        [bus] = make_buses(load_config(file), Tools(sink=sink, clock=rig.time.clock))
        task = asyncio.create_task(bus.run())
        await rig.time.someone_sleeps()
        await rig.until(lambda: "m-1.key" in caplog.text)
        assert "it must hold 16 bytes" in caplog.text
        rig.air.write_keys(tmp_path)
        await rig.play(61, step_s=61)
        await rig.scans()
        bus.stop()
        await task
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            a_line(METER).replace("key_file: m-1.key, ", ""),
            "devices[m-1].key_file: is missing (a file with its key in hex)",
            id="no key",
        ),
        pytest.param(
            a_line(TAG, key_file="t.key"),
            "devices[t-1].key_file: ruuvitag has no key (remove it)",
            id="a key",
        ),
        pytest.param(
            a_line(TAG).replace(":02'", "'"),
            "devices[t-1].address: 'A4:C1:38:00:00' is no address",
            id="address",
        ),
        pytest.param(
            a_line(TAG, unit=3), "devices[t-1].unit: ruuvitag has no unit (write address)", id="unit"
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_configuration_is_told(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(DocumentMistakes) as caught:
        load_config(write_config(tmp_path, line))
    assert told in str(caught.value)


def test_two_devices_cannot_have_one_address_however_it_is_written(tmp_path: Path) -> None:
    second = a_line(TAG).replace("id: t-1", "id: t-2").replace("A4:C1:38", "a4:c1:38")
    with pytest.raises(DocumentMistakes) as caught:
        load_config(write_config(tmp_path, a_line(TAG), second))
    assert "is device 't-1' already" in str(caught.value)


def test_the_description_of_a_device_says_that_it_proves_nothing(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, a_line(TAG), a_line(METER)))
    told = {device.id: config.description_of(device).unauthenticated for device in config.settings.devices}
    assert told == {"t-1": True, "m-1": False}
