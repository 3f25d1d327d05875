"""Bays and zones as a technician configures them, and the counts that come of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.buses import Tools, make_buses
from edge_agent.buses.parking import make_zones, with_bays
from edge_agent.config import DocumentMistakes, load_config
from models.reading import Quality, Reading, Reason
from tests.support.clocks import VirtualClock, settle
from tests.support.parking_sink import ParkingSink

SHIPPED = """
buses:
  - {id: lora, chirpstack: {host: 127.0.0.1, port: 1}}
  - {id: inputs, modbus_tcp: {host: 127.0.0.1, port: 5020}}
  - {id: car-park, parking: {}}
devices:
  - {id: zone-1, bus: car-park, profile: parking-zone, period_s: 60}
  - {id: zone-2, bus: car-park, profile: parking-zone, period_s: 60}
  - {id: bay-1, bus: lora, address: 70b3d57050000001, profile: bosch-parking-lot-sensor, period_s: 3600,
     zone: zone-1}
  - {id: bay-2, bus: lora, address: 70B3D57050000002, profile: libelium-smart-parking, period_s: 7200,
     zone: zone-1}
  - {id: di-1, bus: inputs, profile: parking-zone-modbus, period_s: 5, zone: zone-2,
     parameters: {confirm_times: 1}}
"""


def written(tmp_path: Path, text: str = SHIPPED) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(DocumentMistakes) as mistakes:
        load_config(written(tmp_path, text))
    return str(mistakes.value)


def test_bays_of_all_buses_belong_to_zones(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert [device.zone for device in config.settings.devices] == [None, None, "zone-1", "zone-1", "zone-2"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("zone: zone-2", "zone: zone-3", "no parking zone 'zone-3'"),
        ("zone: zone-2", "zone: bay-1", "no parking zone 'bay-1'"),
        ("profile: parking-zone-modbus", "profile: eastron-sdm630", "eastron-sdm630 has no bays"),
        ("70b3d57050000001", "70b3d5", "no address of this kind"),
        ("70b3d57050000001", "70b3d57050000002", "is device 'bay-1' already"),
        (
            "bus: car-park, profile: parking-zone,",
            "bus: lora, profile: parking-zone,",
            "'lora' is a chirpstack",
        ),
        ("{id: zone-1,", "{id: zone-1, unit: 4,", "parking-zone has no unit"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in problems(tmp_path, SHIPPED.replace(old, new, 1))


def test_there_may_be_several_car_parks(tmp_path: Path) -> None:
    more = "parking: {}}\n  - {id: annex, parking: {}}"
    config = load_config(written(tmp_path, SHIPPED.replace("parking: {}}", more, 1)))
    assert [bus.id for bus in config.settings.buses if bus.kind == "parking"] == ["car-park", "annex"]


def test_devices_of_a_list_have_zones_too(tmp_path: Path) -> None:
    (tmp_path / "bays.csv").write_text(
        "id,bus,address,profile,period_s,zone\nbay-9,lora,70B3D57050000009,bosch-parking-lot-sensor,3600,zone-2\n"
    )
    config = load_config(written(tmp_path, SHIPPED + "devices_csv: bays.csv\n"))
    assert config.settings.devices[-1].zone == "zone-2"


@asynccontextmanager
async def counting(tmp_path: Path, clock: VirtualClock, sink: ParkingSink) -> AsyncIterator[Tools]:
    """The zones at work, and the tools that all buses are given."""
    config = load_config(written(tmp_path))
    tools = with_bays(config, Tools(sink=sink, clock=clock.clock))
    [section] = [bus for bus in config.settings.buses if bus.kind == "parking"]
    zones = make_zones(config, section, [d for d in config.settings.devices if d.bus == section.id], tools)
    task = asyncio.create_task(zones.run())
    await settle()
    try:
        yield tools
    finally:
        zones.stop()
        await task


def told(sink: ParkingSink, zone: str) -> list[tuple[float | None, ...]]:
    """Free, occupied, unknown and out of service, each time that they were told."""
    points = ("bays_free", "bays_occupied", "bays_unknown", "bays_out_of_service")
    return list(zip(*(sink.told(zone, point) for point in points), strict=True))


def a_word(clock: VirtualClock, device: str, value: float | None, point: str = "occupied") -> Reading:
    now_ms = clock.now_ms()
    is_bad = value is None
    return Reading(
        device_id=device,
        point=point,
        value=value,
        quality=Quality.BAD if is_bad else Quality.GOOD,
        reason=Reason.NOT_AVAILABLE if is_bad else Reason.NONE,
        measured_ms=now_ms,
        received_ms=now_ms,
    )


async def test_zones_are_counted_at_each_change_and_each_period_over_all_buses(
    tmp_path: Path, clock: VirtualClock
) -> None:
    sink = ParkingSink()
    async with counting(tmp_path, clock, sink) as tools:
        assert told(sink, "zone-1") == [(0, 0, 2, 0)]
        assert told(sink, "zone-2") == [(0, 0, 16, 0)]
        await tools.sink.put([a_word(clock, "bay-1", 1.0)])
        await settle()
        await tools.sink.put([a_word(clock, "bay-2", None)])
        await settle()
        assert told(sink, "zone-1")[1:] == [(0, 1, 1, 0), (0, 1, 0, 1)]
        words = [a_word(clock, "di-1", float(n > 10), f"bay_{n:02d}_occupied") for n in range(1, 17)]
        await tools.sink.put(words)
        await settle()
        assert told(sink, "zone-2")[1:] == [(10, 6, 0, 0)]
        await clock.advance(60)
        # The inputs have been silent for more than two periods of 5 s; the sensors may be for two hours.
        assert told(sink, "zone-2")[2:] == [(0, 0, 16, 0)]
        assert told(sink, "zone-1")[3:] == [(0, 1, 0, 1)]
    changed = [event for event in sink.events if event.kind == "bay.changed"]
    assert {event.data["zone"] for event in changed} == {"zone-1", "zone-2"}
    assert len(changed) == 18


async def test_every_bus_is_made(tmp_path: Path, clock: VirtualClock) -> None:
    config = load_config(written(tmp_path))
    tools = with_bays(config, Tools(sink=ParkingSink(), clock=clock.clock))
    buses = make_buses(config, tools)
    assert [bus.bus for bus in buses] == ["lora", "inputs", "car-park"]
    assert [state.id for bus in buses for state in bus.states] == [
        "bay-1",
        "bay-2",
        "di-1",
        "zone-1",
        "zone-2",
    ]
