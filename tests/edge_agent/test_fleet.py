"""A fleet that gets another configuration while it polls: nobody else notices, as meters see it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.fleet import Fleet
from models.reading import Reading
from tests.support.clocks import VirtualClock, settle
from tests.support.keeping_sink import KeepingSink
from tests.support.rack import Rack, rack_on_a_line, rack_on_tcp

METER = """\
profile: meter
version: "1"
title: A meter
family: modbus
verified: true
source: this test
modbus: {reply_timeout_s: 5, retries: 0}
parameters: {ct: 1}
points:
  - {name: current_a, unit: A, kind: gauge, table: holding, address: 10, type: uint16, multiply_by: [ct],
     decimals: 0, source: this test}
"""
PERIOD_S = 10.0


@dataclass
class Site:
    """A configuration file of two racks, the fleet that reads it, and what it has stored."""

    folder: Path
    clock: VirtualClock
    racks: tuple[Rack, Rack]
    sink: KeepingSink
    fleet: Fleet
    cycles: int = 0

    def load(self, *changed: str, wires: tuple[str, str] | None = None) -> None:
        self.fleet_config = load_config(write(self.folder, *changed, wires=wires or wires_of(*self.racks)))

    async def cycle(self, racks: tuple[int, int] = (50, 10)) -> None:
        """One period, until all of so many devices at each rack have been asked and stored."""
        wanted = [rack.requests + count for rack, count in zip(self.racks, racks, strict=True)]
        await self.clock.advance(PERIOD_S)
        for rack, count in zip(self.racks, wanted, strict=True):
            await rack.until(count)
        await settle()
        self.cycles += 1

    async def apply(self, *changed: str, wires: tuple[str, str] | None = None) -> None:
        self.load(*changed, wires=wires)
        await self.fleet.apply(self.fleet_config)

    def off_the_grid(self, rack: int) -> dict[int, list[float]]:
        """Of each unit that was not asked at exactly each period since the start: when it was."""
        grid = [PERIOD_S * n for n in range(self.cycles + 1)]
        return {unit: times for unit, times in self.racks[rack].asked.items() if times != grid}


def wires_of(*racks: Rack) -> tuple[str, str]:
    first, second = (f"modbus_tcp: {{host: 127.0.0.1, port: {rack.port}}}" for rack in racks)
    return first, second


def device(rack: int, unit: int, more: str = "") -> str:
    return f"{{id: m-{rack}-{unit}, bus: rack-{rack}, unit: {unit}, profile: meter, period_s: 10{more}}}"


def devices(**changed: str) -> list[str]:
    """50 on the first rack and 10 on the second; some of them otherwise, or "" for not there."""
    found = {f"m_1_{n}": device(1, n) for n in range(1, 51)} | {
        f"m_2_{n}": device(2, n) for n in range(1, 11)
    }
    return [line for line in (found | changed).values() if line]


def write(folder: Path, *lines: str, wires: tuple[str, str]) -> Path:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "meter.yaml").write_text(METER)
    file = folder / "gateway.yaml"
    buses = "\n".join(f"  - {{id: rack-{n}, {wire}}}" for n, wire in enumerate(wires, 1))
    text = "gateway: {profiles_dir: own}\nbuses:\n" + buses + "\ndevices:\n"
    file.write_text(text + "".join(f"  - {line}\n" for line in lines))
    return file


@contextlib.asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.run())
    try:
        yield
    finally:
        fleet.stop()
        await task


@pytest.fixture
async def site(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Site]:
    """After the first polls, at time 0."""
    async with rack_on_tcp(clock) as first, rack_on_tcp(clock) as second:
        config = load_config(write(tmp_path, *devices(), wires=wires_of(first, second)))
        sink = KeepingSink()
        fleet = Fleet(config, sink, clock.clock)
        async with running(fleet):
            await first.until(50)
            await second.until(10)
            await settle()
            yield Site(tmp_path, clock, (first, second), sink, fleet)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(device(1, 7, ", parameters: {ct: 40}"), id="parameters"),
        pytest.param(device(1, 7, ", name: main, report: {'*': {dead_band: 1}}"), id="name and report"),
        pytest.param(device(1, 7, ", zone: ''").replace(", zone: ''", ""), id="nothing"),
    ],
)
async def test_a_device_that_changes_is_the_only_one_that_notices(site: Site, changed: str) -> None:
    await site.cycle()
    await site.apply(*devices(m_1_7=changed))
    await site.cycle()
    await site.cycle()
    assert [rack.connections for rack in site.racks] == [1, 1]
    assert site.off_the_grid(0) == site.off_the_grid(1) == {}
    assert len(site.racks[0].asked) == 50


async def test_the_new_driver_of_a_device_reads_as_the_new_configuration_says(site: Site) -> None:
    await site.apply(*devices(m_1_7=device(1, 7, ", parameters: {ct: 40}")))
    await site.cycle()
    values = [
        item.value for item in site.sink.items if isinstance(item, Reading) and item.device_id == "m-1-7"
    ]
    assert values == [7.0, 280.0]


async def test_a_change_while_a_poll_is_under_way_costs_no_poll(site: Site) -> None:
    """In the middle of a cycle, while half of the rack is still to be asked."""
    await site.clock.advance(PERIOD_S - 0.001)
    asked = site.racks[0].requests
    advancing = asyncio.create_task(site.clock.advance(0.001))
    await site.racks[0].until(asked + 20)
    await site.apply(*devices(m_1_7=device(1, 7, ", parameters: {ct: 2}"), m_1_50=device(1, 50, ", name: x")))
    await advancing
    await site.racks[0].until(asked + 50)
    await site.racks[1].until(20)
    site.cycles += 1
    await site.cycle()
    assert [rack.connections for rack in site.racks] == [1, 1]
    assert site.off_the_grid(0) == site.off_the_grid(1) == {}


async def test_devices_that_come_and_go_are_the_only_ones_that_notice(site: Site) -> None:
    await site.clock.advance(3)
    await site.apply(*devices(m_1_7="", m_1_51=device(1, 51)))
    await site.racks[0].until(51)
    await settle()
    await site.clock.advance(-3 + PERIOD_S)
    await site.racks[0].until(51 + 49)
    await site.racks[1].until(20)
    site.cycles += 1
    assert [rack.connections for rack in site.racks] == [1, 1]
    assert site.off_the_grid(0) == {7: [0.0], 51: [3.0]}
    assert site.off_the_grid(1) == {}
    assert "m-1-7" not in site.fleet.states()
    assert "m-1-51" in site.fleet.states()


async def test_a_bus_that_changes_is_the_only_one_that_begins_again(site: Site) -> None:
    await site.cycle()
    first, _ = wires_of(*site.racks)
    slower = wires_of(*site.racks)[1].replace("127.0.0.1", "localhost")
    await site.apply(*devices(), wires=(first, slower))
    await site.racks[1].until(30)
    await site.cycle()
    assert [rack.connections for rack in site.racks] == [1, 2]
    assert site.off_the_grid(0) == {}
    assert site.racks[1].open == 1


async def test_buses_that_change_places_do_not_meet_on_a_wire(site: Site) -> None:
    await site.cycle()
    first, second = wires_of(*site.racks)
    await site.apply(*devices(), wires=(second, first))
    await site.cycle(racks=(10, 50))
    assert [rack.connections for rack in site.racks] == [2, 2]
    assert [rack.open for rack in site.racks] == [1, 1]


async def test_a_device_that_moves_to_another_bus_is_asked_there_and_nowhere_else(site: Site) -> None:
    await site.apply(*devices(m_1_7=device(1, 7).replace("rack-1", "rack-2").replace("unit: 7", "unit: 77")))
    await site.racks[1].until(11)
    await settle()
    await site.cycle(racks=(49, 11))
    assert [rack.connections for rack in site.racks] == [1, 1]
    assert site.racks[0].asked[7] == [0.0]
    assert site.racks[1].asked[77] == [0.0, 10.0]
    assert site.off_the_grid(0) == {7: [0.0]}


async def test_the_last_device_takes_its_bus_with_it_and_brings_it_back(site: Site) -> None:
    gone = {f"m_2_{n}": "" for n in range(1, 11)}
    await site.apply(*devices(**gone))
    assert site.racks[1].open == 0
    assert [bus.bus for bus in site.fleet.buses] == ["rack-1"]
    await site.cycle(racks=(50, 0))
    await site.apply(*devices())
    await site.racks[1].until(20)
    assert site.racks[1].connections == 2
    assert site.off_the_grid(0) == {}


async def test_the_only_device_of_a_bus_is_exchanged_without_a_reconnect(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async with rack_on_tcp(clock) as first, rack_on_tcp(clock) as second:
        wires = wires_of(first, second)
        fleet = Fleet(load_config(write(tmp_path, device(1, 1), wires=wires)), KeepingSink(), clock.clock)
        async with running(fleet):
            await first.until(1)
            await settle()
            changed = device(1, 2).replace("m-1-2", "m-1-1")
            await fleet.apply(load_config(write(tmp_path, changed, wires=wires)))
            await clock.advance(PERIOD_S)
            await first.until(2)
        assert (first.connections, dict(first.asked)) == (1, {1: [0.0], 2: [10.0]})


async def test_a_serial_line_stays_open_and_keeps_its_grid(tmp_path: Path, clock: VirtualClock) -> None:
    async with rack_on_a_line(clock) as (rack, port), rack_on_tcp(clock) as other:
        wires = (f"serial: {{port: {port}, baud: 115200}}", wires_of(other, other)[1])
        lines = [device(1, n) for n in range(1, 6)]
        fleet = Fleet(load_config(write(tmp_path, *lines, wires=wires)), KeepingSink(), clock.clock)
        async with running(fleet):
            await rack.until(5)
            await settle()
            lines[2] = device(1, 3, ", parameters: {ct: 5}")
            await fleet.apply(load_config(write(tmp_path, *lines, wires=wires)))
            for cycle in (2, 3):
                await clock.advance(PERIOD_S)
                await rack.until(5 * cycle)
                await settle()
            assert rack.connections == 0  # none has ended
        assert dict(rack.asked) == {unit: [0.0, 10.0, 20.0] for unit in range(1, 6)}


async def test_what_cannot_be_made_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.fleet.config

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("edge_agent.buses.polled.make_driver", fail)
    with pytest.raises(RuntimeError):
        await site.apply(*devices(m_1_7=device(1, 7, ", parameters: {ct: 40}"), m_1_9=""))
    assert site.fleet.config is before
    await site.cycle()
    assert site.off_the_grid(0) == {}


async def test_a_stop_in_the_middle_of_a_change_ends_all(site: Site) -> None:
    changing = asyncio.create_task(site.apply(*devices(m_1_7="", m_2_3=device(2, 3, ", name: x"))))
    await asyncio.sleep(0)
    site.fleet.stop()
    await changing
