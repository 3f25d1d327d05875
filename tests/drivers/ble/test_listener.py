"""Real bleak hears simulated devices through BlueZ's D-Bus interface; time is virtual."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from drivers.ble.frames import Refusal
from drivers.ble.listener import Refused
from drivers.contract import CommandRefused
from models.profile.ble import BleProfile
from models.reading import GATEWAY, Item, Quality, Reading, Reason
from simulators.ble.air import Advert
from simulators.ble.faults import BleFault
from simulators.ble.sections import BleDeviceSection
from simulators.ledger import LedgerWriter, Produced, produced
from simulators.profiles import profile_of
from tests.support.ble import Rig, a_device, a_listener, a_rig, on_bus
from tests.support.clocks import START_MS, VirtualClock
from tests.support.keeping_sink import KeepingSink
from tests.support.needs import needs_dbus

pytestmark = needs_dbus

SECRET = "0123456789abcdef0123456789abcdef"
ENERGY = "energy_import_kwh"


def section(profile: str, number: int = 1, **more: object) -> BleDeviceSection:
    needs_key = profile_of(profile, BleProfile).addressing.key == "required"
    return BleDeviceSection.model_validate(
        {"id": f"{profile}-{number}", "address": f"A4:C1:38:00:00:{number:02X}", "profile": profile}
        | ({"key": SECRET} if needs_key else {}) | more,
        strict=False,
    )  # fmt: skip


METER = section("bthome-meter")
ALL = [
    section(profile, number)
    for number, profile in enumerate(
        ["bthome-meter", "bthome-meter-plain", "bthome-climate", "xiaomi-lywsd03mmc", "xiaomi-lywsdcgq",
         "ruuvitag", "victron-bmv", "atorch-ac", "jbd-bms"], 1,
    )
]  # fmt: skip


@pytest.fixture
async def meter() -> AsyncIterator[Rig]:
    """One sealed meter that speaks every 5 s and is expected every 10 s."""
    async with a_rig(METER) as rig:
        yield rig


def said(ledger: Path) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for value in produced(ledger):
        assert isinstance(value, Produced)
        found.setdefault((value.meter_id, value.point), []).append(value.value)
    return found


def stored(rig: Rig) -> dict[tuple[str, str], list[float | None]]:
    found: dict[tuple[str, str], list[float | None]] = {}
    for item in rig.sink.items:
        if isinstance(item, Reading):
            found.setdefault((item.device_id, item.point), []).append(item.value)
    return found


def lost_for(rig: Rig) -> Reason | None:
    """Why the device of a rig is lost; None: it is not."""
    [state] = rig.listener.states
    return None if state.lost_since_ms is None else state.reason


@pytest.mark.parametrize("scanning", ["active", "passive"])
async def test_what_devices_say_is_stored_once_and_exactly(
    scanning: Literal["active", "passive"], tmp_path: Path
) -> None:
    ledger = LedgerWriter(tmp_path / "said", scenario="air", seed=7, start_ms=START_MS)
    async with a_rig(*ALL, scanning=scanning, ledger=ledger, strangers=5) as rig:
        async with rig.listening():
            await rig.play(60)
        ledger.close()
        told, have = said(tmp_path / "said"), stored(rig)
        assert set(have) == set(told)
        for which, values in have.items():
            if which[0].startswith(("atorch", "jbd")):
                assert len(values) >= 4  # every 10 s
                assert set(values) <= set(told[which])
            else:
                assert values == told[which]
        assert {item.quality for item in rig.sink.items if isinstance(item, Reading)} == {Quality.GOOD}
        assert {state.lost_since_ms for state in rig.listener.states} == {None}
        foreign = rig.listener.refused[Refused("", Refusal.FOREIGN)]
        assert foreign > 0 if scanning == "active" else foreign == 0
        assert set(rig.listener.refused) <= {Refused("", Refusal.FOREIGN)}


async def test_a_reading_has_the_time_at_which_it_was_heard(meter: Rig) -> None:
    async with meter.listening():
        await meter.play(20)
    for reading in meter.readings("bthome-meter-1", ENERGY):
        assert reading.measured_ms == reading.received_ms
        assert START_MS < reading.received_ms <= meter.time.now_ms()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("downgrade", "downgrade"),
        ("wrong_key", "wrong-key"),
        ("garbage", "malformed"),
        ("replayed", "replayed"),
    ],
)
async def test_what_must_not_be_taken_is_counted_and_told_once(
    fault: Literal["downgrade", "wrong_key", "garbage", "replayed"], reason: str, tmp_path: Path
) -> None:
    ledger = LedgerWriter(tmp_path / "said", scenario="air", seed=7, start_ms=START_MS)
    async with a_rig(METER, ledger=ledger) as rig:
        rig.air.advertiser(METER.id).faults.add(BleFault(kind=fault, probability=0.5))
        async with rig.listening():
            await rig.play(200)
        ledger.close()
        count = rig.listener.refused[Refused(METER.id, Refusal(reason))]
        assert count > 5
        [event] = rig.sink.of_kind("device.refused")
        assert (event.device_id, event.data["reason"]) == (METER.id, reason)
        assert SECRET not in repr(event)
        good = [value for value in rig.values(METER.id, ENERGY) if value is not None]
        assert good == said(tmp_path / "said")[METER.id, ENERGY]


async def test_a_refusal_that_goes_on_is_told_again_after_an_hour(meter: Rig) -> None:
    meter.air.advertiser(METER.id).faults.add(BleFault(kind="downgrade", probability=0.5))
    async with meter.listening():
        await meter.play(3700, step_s=25)
    assert len(meter.sink.of_kind("device.refused")) == 2


async def test_the_same_advertisement_is_stored_once_though_it_is_heard_twice() -> None:
    async with a_rig(METER, section("bthome-meter-plain", 2)) as rig:
        for device in rig.air.section.devices:
            rig.air.advertiser(device.id).faults.add(BleFault(kind="duplicate"))
        async with rig.listening():
            await rig.play(50)
        for device in rig.air.section.devices:
            times = [reading.received_ms for reading in rig.readings(device.id, ENERGY)]
            assert len(times) == len(set(times)) == 10


async def test_a_device_that_says_the_same_for_hours_is_heard_and_stored_once_a_period() -> None:
    plain = section("bthome-climate-plain", every="1h")
    async with a_rig(plain) as rig:
        constant = Advert(services={0xFCD2: bytes.fromhex("4002c40903bf13")}, rssi=-60)
        async with rig.listening():
            for _ in range(30):
                await rig.air.bluez.receive(plain.address, constant)
                await rig.settled()  # heard before time goes on
                await rig.play(4, step_s=4)
        assert rig.values(plain.id, "temperature_c") == [25.0] * 10
        assert lost_for(rig) is None


async def test_what_comes_faster_than_it_can_be_stored_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.ble.listener.MOST_WAITING", 10)
    async with a_rig(METER) as rig:
        disk = asyncio.Lock()
        put = rig.sink.put

        async def slowly(items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
            async with disk:
                await put(items, marks)

        monkeypatch.setattr(rig.sink, "put", slowly)
        async with rig.listening():
            async with disk:
                await rig.play(150)
            await rig.play(5)
        assert rig.listener.refused == {Refused(METER.id, Refusal.OVERFLOW): 19}
        assert len(rig.values(METER.id, ENERGY)) == 31 - 19
        assert lost_for(rig) is None


async def test_counters_survive_a_restart(meter: Rig) -> None:
    advertiser = meter.air.advertiser(METER.id)
    async with meter.listening():
        await meter.play(50)
    before = meter.values(METER.id, ENERGY)
    assert len(before) == 10
    meter.restarted()
    advertiser.faults.add(BleFault(kind="lost"))  # the device itself is silent
    async with meter.listening():
        for advert in advertiser.recorded:
            await advertiser.replay(advert)
            await meter.settled()
        await meter.play(10)
    assert meter.values(METER.id, ENERGY) == before
    assert (
        meter.listener.refused[Refused(METER.id, Refusal.REPLAYED)] == 9
    )  # the tenth was the last that was taken
    assert len(meter.sink.of_kind("ble.counter_started")) == 1


async def test_a_recording_is_not_taken_for_a_changed_battery(meter: Rig) -> None:
    advertiser = meter.air.advertiser(METER.id)
    async with meter.listening():
        await meter.play(400, step_s=5)
        count = len(meter.values(METER.id, ENERGY))
        advertiser.faults.add(BleFault(kind="lost"))
        for advert in advertiser.recorded:
            await advertiser.replay(advert)
            await meter.play(5, step_s=5)
    assert [value for value in meter.values(METER.id, ENERGY) if value is not None][count:] == []
    assert not meter.sink.of_kind("ble.counter_reset")


@pytest.mark.parametrize("kind", ["counter_reset", "reboot"])
async def test_a_changed_battery_recovers_without_pairing_and_costs_no_reading(
    kind: Literal["counter_reset", "reboot"], tmp_path: Path
) -> None:
    ledger = LedgerWriter(tmp_path / "said", scenario="air", seed=7, start_ms=START_MS)
    async with a_rig(METER, ledger=ledger) as rig:
        async with rig.listening():
            await rig.play(60, step_s=5)
            rig.air.advertiser(METER.id).faults.add(BleFault(kind=kind, times=1))
            await rig.play(120, step_s=5)
        ledger.close()
        [reset] = rig.sink.of_kind("ble.counter_reset")
        assert (reset.data["from"], reset.data["to"]) == (12, 0)
        assert rig.values(METER.id, ENERGY) == said(tmp_path / "said")[METER.id, ENERGY]
        assert rig.listener.refused == {}


async def test_a_silent_device_is_lost_after_three_periods_and_comes_back(meter: Rig) -> None:
    async with meter.listening():
        await meter.play(20)
        lost = meter.air.advertiser(METER.id).faults.add(BleFault(kind="lost"))
        await meter.play(27)
        assert None not in meter.values(METER.id, ENERGY)
        await meter.play(23)
        assert lost_for(meter) is Reason.NO_REPLY
        bad = [reading for reading in meter.readings(METER.id, ENERGY) if reading.quality is Quality.BAD]
        assert {reading.reason for reading in bad} == {Reason.NO_REPLY}
        times = [reading.measured_ms for reading in bad]
        heard = [reading.measured_ms for reading in meter.readings(METER.id, ENERGY) if reading.value]
        assert times == [heard[-1] + 30_000, heard[-1] + 40_000, heard[-1] + 50_000]
        meter.air.advertiser(METER.id).faults.remove(lost)
        await meter.play(6)
    assert lost_for(meter) is None
    assert meter.values(METER.id, ENERGY)[-1] is not None


async def test_a_device_of_which_only_refused_frames_come_is_lost_and_the_reason_says_so(meter: Rig) -> None:
    meter.air.advertiser(METER.id).faults.add(BleFault(kind="wrong_key"))
    async with meter.listening():
        await meter.play(50)
    assert {reading.reason for reading in meter.readings(METER.id, ENERGY)} == {Reason.BAD_REPLY}


async def test_silence_rebuilds_the_scanner_and_then_resets_the_adapter(meter: Rig) -> None:
    adapter = meter.air.bluez.adapter
    async with meter.listening():
        await meter.play(20)
        meter.air.bluez.stall("scan")
        await meter.play(86)
        assert (adapter.starts, meter.listener.scanner_rebuilds) == (1, 0)
        await meter.play(10)
        await meter.until(lambda: adapter.starts == 2)
        await meter.play(6)
        assert meter.values(METER.id, ENERGY)[-1] is not None  # heard again, within 120 s
        meter.air.bluez.stall("power")
        await meter.play(110)
        assert (meter.listener.scanner_rebuilds, adapter.power_cycles) == (2, 0)
        await meter.play(90)
        await meter.until(lambda: adapter.power_cycles == 1)
        await meter.scans()
        await meter.play(10)
        assert meter.values(METER.id, ENERGY)[-1] is not None
    assert meter.listener.adapter_resets == 1
    assert [event.device_id for event in meter.sink.of_kind("ble.adapter_reset")] == [GATEWAY]


async def test_a_radio_that_stays_silent_is_not_stormed_at() -> None:
    quiet = section("bthome-meter", every="1h")
    async with a_rig(quiet) as rig:
        rig.air.advertiser(quiet.id).faults.add(BleFault(kind="lost"))
        async with rig.listening():
            for _ in range(24):
                await rig.play(3600, step_s=900)
                await rig.play(5)  # what a reset takes
        assert 5 <= rig.listener.adapter_resets <= 32


async def test_an_adapter_that_lost_its_power_is_switched_on_again(meter: Rig) -> None:
    async with meter.listening():
        await meter.play(20)
        meter.air.bluez.adapter.set_power(False)
        await meter.play(100)
        await meter.until(lambda: meter.sink.of_kind("ble.adapter_lost"))
        await meter.play(3)
        await meter.until(lambda: meter.air.bluez.adapter.is_powered)
        await meter.play(3)
        await meter.until(lambda: meter.sink.of_kind("ble.adapter_back"))
        await meter.play(6)
    assert meter.values(METER.id, ENERGY)[-1] is not None


async def test_without_a_bus_everything_waits_and_nothing_crashes(tmp_path: Path) -> None:
    time, sink = VirtualClock(), KeepingSink()
    listener = a_listener([a_device("bthome-meter", key=bytes(16), period_s=10)], time.clock)
    async with on_bus(f"unix:path={tmp_path / 'nothing'}"):
        task = asyncio.create_task(listener.run(sink))
        [event] = await sink.has(1, "ble.adapter_lost")
        assert event.data["adapter"] == "hci0"
        for _ in range(12):
            await time.someone_sleeps()
            await time.advance(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    reasons = {item.reason for item in sink.items if isinstance(item, Reading)}
    assert reasons == {Reason.UNREACHABLE}
    assert len(sink.of_kind("ble.adapter_lost")) == 1


async def test_an_adapter_that_is_not_there_is_told() -> None:
    async with a_rig(METER, adapter="hci3") as rig:
        task = asyncio.create_task(rig.listener.run(rig.sink))
        [event] = await rig.sink.has(1, "ble.adapter_lost")
        assert "hci0" in event.data["detail"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_meter_that_refuses_connections_is_lost_and_costs_the_others_nothing() -> None:
    atorch, jbd = section("atorch-ac", 1), section("jbd-bms", 2)
    async with a_rig(atorch, jbd) as rig:
        rig.air.meter(atorch.id)._silent_until_ms = START_MS + 60_000
        async with rig.listening():
            await rig.play(55)
            assert {reading.reason for reading in rig.readings(atorch.id, ENERGY)} == {Reason.NO_REPLY}
            assert len(rig.values(jbd.id, "voltage_v")) >= 5
            await rig.play(30)
        assert rig.values(atorch.id, ENERGY)[-1] is not None


async def test_the_time_that_it_takes_to_connect_is_no_part_of_a_request() -> None:
    jbd = section("jbd-bms")
    async with a_rig(jbd) as rig:
        gatt = rig.air.bluez._known[jbd.address][1]
        assert gatt is not None

        def slow() -> bool:
            rig.time._now_s += 6
            return False

        gatt.refuses = slow
        async with rig.listening():
            await rig.play(30)
        readings = rig.readings(jbd.id, "voltage_v")
        took_ms = [reading.received_ms - reading.measured_ms for reading in readings if reading.value]
        assert took_ms
        assert max(took_ms) <= 1000  # half of what the clock may go on meanwhile


async def test_noise_before_a_report_is_passed_over() -> None:
    atorch = section("atorch-ac", 1)
    async with a_rig(atorch) as rig:
        rig.air.meter(atorch.id).faults.add(BleFault(kind="garbage"))
        async with rig.listening():
            await rig.play(40)
        assert {reading.quality for reading in rig.readings(atorch.id, ENERGY)} == {Quality.GOOD}


async def test_nothing_that_is_listened_to_takes_commands(meter: Rig) -> None:
    with pytest.raises(CommandRefused):
        await meter.listener.act(METER.id, "write", {})


async def test_a_foreign_address_with_the_same_frame_is_never_stored(meter: Rig) -> None:
    meter.air.advertiser(METER.id).faults.add(BleFault(kind="foreign"))
    async with meter.listening():
        await meter.play(30)
    assert {item.device_id for item in meter.sink.items if isinstance(item, Reading)} == {METER.id}
    assert len(meter.values(METER.id, ENERGY)) == 6
    assert meter.listener.refused == {Refused("", Refusal.FOREIGN): 6}
