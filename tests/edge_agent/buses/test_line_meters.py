"""What stands in gateway.yaml reads DL/T 645 and CJ/T 188 meters that share one line."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.buses.polled import LineWire, make_driver, make_wire
from edge_agent.config import Config, load_config
from models.document import DocumentMistakes
from simulators.cjt188.line import make_talker as cjt188
from simulators.cjt188.meter import Cjt188Meter
from simulators.cjt188.sections import Cjt188LineSection
from simulators.dlt645.line import make_talker as dlt645
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.sections import Dlt645LineSection
from simulators.line.meters import devices_of
from simulators.line.running import running_line
from simulators.line.sections import LineSection
from tests.support.clocks import START_MS, VirtualClock

POWER = Dlt645LineSection.model_validate(
    {
        "meters": [
            {"id": "mains", "address": "123456789012", "profile": "dlt645-three-phase",
             "parameters": {"ct": 20}},
            {"id": "old", "address": "138000130754", "profile": "dlt645-1997-single-phase"},
        ]
    }
)  # fmt: skip
WATER = Cjt188LineSection.model_validate(
    {
        "meters": [
            {"id": "water", "address": "78330011223344"},
            {"id": "heat", "address": "20190000456789", "profile": "cjt188-heat"},
        ]
    }
)


def configured(folder: Path, bus: dict[str, Any], devices: list[dict[str, Any]]) -> Config:
    path = folder / "gateway.yaml"
    path.write_bytes(msgspec.json.encode({"buses": [bus], "devices": devices}))  # JSON is YAML
    return load_config(path)


@pytest.mark.parametrize("place", [{}, {"port": 0}], ids=["serial port", "serial server"])
async def test_meters_of_both_families_are_read_over_one_line(tmp_path: Path, place: dict[str, int]) -> None:
    time = VirtualClock()
    given: dict[str, Any] = {"clock": time.clock, "seed": 5, "origin_ms": START_MS}
    power, water = dlt645(POWER, **given), cjt188(WATER, **given)
    meters: list[Dlt645Meter | Cjt188Meter] = [*power.meters, *water.meters]
    await time.advance(3600)
    section = LineSection.model_validate({"baud": None, **place})
    async with running_line(section, [power, water], clock=time.clock) as line:
        devices = devices_of(POWER.meters, "line", period_s=60) + devices_of(
            WATER.meters, "line", period_s=60
        )
        config = configured(tmp_path, line.bus("line"), devices)
        wire = make_wire(config.settings.buses[0], time.clock)
        assert isinstance(wire, LineWire)
        shown = {meter.id: meter.display(time.now_ms()) for meter in meters}
        for device in config.settings.devices:
            driver = make_driver(config, device, wire, time.clock)
            await driver.open()
            readings = {reading.point: reading.value for reading in await driver.read()}
            await driver.close()
            assert readings == shown[device.id]


@pytest.mark.parametrize(
    ("address", "profile", "said"),
    [
        ("1234", "dlt645-single-phase", "'1234' is no address of this kind"),
        ("1234", "dlt645-single-phase", "the 12 digits on its front"),
        ("12AA56789012", "dlt645-single-phase", "is no address of this kind"),
        ("123456789012", "cjt188-water", "14 digits"),
    ],
)
def test_an_address_that_is_none_is_found_before_anything_is_opened(
    tmp_path: Path, address: str, profile: str, said: str
) -> None:
    bus = {"id": "line", "serial": {"port": "/dev/ttyUSB0", "baud": 2400, "parity": "even"}}
    device = {"id": "m", "bus": "line", "address": address, "profile": profile, "period_s": 60}
    with pytest.raises(DocumentMistakes, match=said):
        configured(tmp_path, bus, [device])
