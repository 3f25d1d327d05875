"""What stands in gateway.yaml reads Modbus units on a line, and of all its faults only the truth."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from drivers.line import Line, SerialLine, StreamLine
from drivers.modbus.driver import make_driver as make_modbus_driver
from drivers.modbus.rtu_link import RtuLink
from edge_agent.buses.polled import LineWire, make_driver, make_wire
from edge_agent.config import load_config
from models.profile.modbus import ModbusProfile
from models.reading import Quality, Reading
from simulators.building import Building
from simulators.faults import Fault
from simulators.ledger import LedgerWriter, produced
from simulators.line.running import running_line
from simulators.line.sections import LineSection
from simulators.modbus.line import running_modbus_line
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.sections import ModbusLineSection
from simulators.modbus.talker import RtuTalker
from tests.support.clocks import START_MS, VirtualClock, fast_clock
from tests.support.profiles import a_point, a_profile

PLACES = pytest.mark.parametrize("place", [{}, {"port": 0}], ids=["serial port", "serial server"])


@PLACES
@pytest.mark.parametrize("echoes", [False, True])
async def test_units_of_several_kinds_are_read_over_one_line(
    tmp_path: Path, place: dict[str, int], echoes: bool
) -> None:
    time = VirtualClock()
    section = ModbusLineSection.model_validate(
        {
            "meters": [
                {"id": "mains", "unit": 1, "profile": "eastron-sdm630"},
                {"id": "floor", "unit": 7, "profile": "acrel-adl3000", "parameters": {"ct": 20}},
            ],
            "baud": None,
            "echoes": echoes,
            **place,
        }
    )
    async with running_modbus_line(section, clock=time.clock, seed=5, origin_ms=START_MS) as line:
        await time.advance(3600)
        file = tmp_path / "gateway.yaml"
        file.write_bytes(msgspec.json.encode({"buses": [line.bus("line")], "devices": line.devices("line")}))
        config = load_config(file)
        wire = make_wire(config.settings.buses[0], time.clock)
        assert isinstance(wire, LineWire)
        for device in config.settings.devices:
            driver = make_driver(config, device, wire, time.clock)
            await driver.open()
            readings = {reading.point: reading.value for reading in await driver.read()}
            await driver.close()
            assert readings == line.meter(device.id).display(time.now_ms())


FAULTS = [
    {"kind": "lost"}, {"kind": "late", "delay": "60ms"}, {"kind": "foreign_unit"},
    {"kind": "foreign_transaction"}, {"kind": "garbled"}, {"kind": "bad_checksum"}, {"kind": "truncated"},
    {"kind": "echo"}, {"kind": "duplicate"}, {"kind": "busy"}, {"kind": "noise"},
]  # fmt: skip
TIMEOUT_S = 0.04
POLLS = 16
UNITS = (1, 2, 3)


def meter_profile() -> ModbusProfile:
    """Two blocks that look the same, and one that does not."""
    names = ["voltage_l1_v", "current_l1_a", "power_total_kw", "energy_import_kwh"]
    units = {"v": "V", "a": "A", "kw": "kW", "kwh": "kWh"}
    points = [
        a_point(
            name if block == 0 else f"{name.rsplit('_', 1)[0]}_{block}_{name.rsplit('_', 1)[1]}",
            100 * block + 2 * n,
            "float32",
            unit=units[name.rsplit("_", 1)[1]],
            kind="counter" if name.startswith("energy") else "gauge",
            decimals=3,
        )
        for block in range(3)
        for n, name in enumerate(names[: 3 if block == 2 else 4])
    ]
    return a_profile(*points, reply_timeout_s=TIMEOUT_S)


@PLACES
async def test_what_is_read_from_a_line_with_every_fault_is_what_was_shown(
    tmp_path: Path, place: dict[str, int]
) -> None:
    clock = fast_clock(3600, START_MS)
    ledger = LedgerWriter(tmp_path / "ledger.jsonl", scenario="test", seed=3, start_ms=START_MS)
    profile = meter_profile()
    meters = [
        ModbusMeter(
            f"m-{unit}", unit=unit, profile=profile, building=Building(seed=3), kw=30.0 * unit,
            origin_ms=START_MS, now_ms=clock.now_ms,
        )
        for unit in UNITS
    ]  # fmt: skip
    talker = RtuTalker(meters, name="line", seed=3, origin_ms=START_MS, clock=clock, ledger=ledger)
    for fault in FAULTS:
        talker.faults.add(Fault.model_validate({**fault, "probability": 0.02}))
    readings: list[Reading] = []
    section = LineSection.model_validate({"baud": None, **place})
    async with running_line(section, [talker], clock=clock, ledger=ledger) as running:
        line: Line = (
            StreamLine("127.0.0.1", running.port, clock=clock)
            if place
            else SerialLine(running.path, baud=115_200, clock=clock)
        )
        link = RtuLink(line)
        drivers = [
            make_modbus_driver(
                device_id=f"m-{unit}", profile=profile, unit=unit, link=link, parameters={}, clock=clock
            )
            for unit in UNITS
        ]
        for _ in range(POLLS):
            for driver in drivers:
                readings += await driver.read()
        talker.faults.clear()
        await asyncio.sleep(2 * TIMEOUT_S)
        for driver in drivers:
            healed = [await driver.read() for _ in range(2)][-1]
            assert {reading.quality for reading in healed} == {Quality.GOOD}
        for driver in drivers:
            await driver.close()
    ledger.close()
    shown: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for value in produced(tmp_path / "ledger.jsonl"):
        shown.setdefault((value.meter_id, value.point), []).append((value.served_ms, value.value))
    good = [reading for reading in readings if reading.value is not None]
    assert len(good) > 0.8 * len(readings)
    for reading in good:
        sent_ms = 2 * reading.measured_ms - reading.received_ms
        truth = [
            value
            for served_ms, value in shown[reading.device_id, reading.point]
            if sent_ms - 1 <= served_ms <= reading.received_ms
        ]
        assert reading.value in truth, reading
