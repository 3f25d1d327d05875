"""Twenty meters on one serial line at 9600 baud, in virtual time: bytes take the time of the line."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from drivers.contract import DeviceState
from drivers.modbus.driver import make_driver
from drivers.modbus.rtu_link import RtuLink
from edge_agent.polling import Arbiter
from edge_agent.schedule import LONGEST_BACKOFF_S, SHARE_OF_THE_DEAD, Device
from models.profile.modbus import ModbusProfile
from models.reading import Item, Quality, Reading, Reason
from models.times import Clock
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import in_virtual_time

UNITS = range(1, 21)
PERIOD_S = 10.0
TIMEOUT_S = 1.0


def eighty_registers() -> ModbusProfile:
    """As many as 40 floats take; only the first and the last are looked at, to save time."""
    points = [a_point(f"p_{n:02}", 2 * n, "float32") for n in (0, 39)]
    return a_profile(*points, reply_timeout_s=TIMEOUT_S, max_gap=100)


@dataclass
class Meters:
    """The meters of the line, and who of them is dead."""

    dead: set[int]
    bus: RtuBus = field(init=False)

    def __post_init__(self) -> None:
        self.bus = RtuBus(dict.fromkeys(UNITS, self.unit), baud=9600, turnaround_s=0.005, chunk=64)

    def unit(self, request: bytes) -> list[Said]:
        if request[0] in self.dead:
            return []
        count = int.from_bytes(request[4:6], "big")
        words = struct.pack(">f", 230.0) * (count // 2)
        return [Said(sealed(bytes((request[0], request[1], len(words))) + words))]

    def asked_s(self, unit: int) -> list[float]:
        return [at_s for at_s, request in self.bus.asked if request[0] == unit]


@dataclass
class Shelf:
    """A sink that keeps everything."""

    readings: list[Reading] = field(default_factory=list)

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        self.readings += [item for item in items if isinstance(item, Reading)]

    async def marks(self, prefix: str) -> dict[str, str]:
        return {}

    def measured_s(self, unit: int) -> list[float]:
        """When its first point had a value."""
        return [
            reading.measured_ms / 1000
            for reading in self.readings
            if reading.device_id == f"d-{unit}" and reading.point == "p_00" and reading.value is not None
        ]


@dataclass
class Running:
    meters: Meters
    shelf: Shelf
    arbiter: Arbiter
    clock: Clock

    async def pass_by(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def state(self, unit: int) -> DeviceState:
        return self.arbiter.states[unit - 1]


async def started(clock: Clock, dead: set[int]) -> tuple[Running, asyncio.Task[None]]:
    meters, shelf = Meters(dead), Shelf()
    link = RtuLink(MemoryLine(meters.bus, clock=clock))
    profile = eighty_registers()
    devices = [
        Device(
            id=f"d-{unit}",
            driver=make_driver(
                device_id=f"d-{unit}", profile=profile, unit=unit, link=link, parameters={}, clock=clock
            ),
            points=tuple(point.name for point in profile.points),
            period_s=PERIOD_S,
        )
        for unit in UNITS
    ]
    arbiter = Arbiter("line", devices, shelf, clock=clock)
    return Running(meters, shelf, arbiter, clock), asyncio.create_task(arbiter.run())


def gaps(times_s: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(times_s)]


def test_a_sweep_of_eighty_registers_is_one_request_and_takes_what_its_bytes_take() -> None:
    async def scenario(clock: Clock) -> None:
        running, task = await started(clock, set())
        await running.pass_by(9.9)
        running.arbiter.stop()
        await task
        asked = running.meters.bus.asked
        assert len(asked) == 20
        bytes_s = (8 + 165) * 11 / 9600
        assert max(gaps([at_s for at_s, _ in asked])) < bytes_s + 0.015 < 0.25

    in_virtual_time(scenario)


@pytest.mark.parametrize("dead", [{7}, {20}, {3, 9, 15}], ids=str)
def test_dead_meters_cost_the_others_nothing_that_shows(dead: set[int]) -> None:
    async def scenario(clock: Clock) -> None:
        running, task = await started(clock, dead)
        await running.pass_by(20)  # in which they are found to be dead
        begun_s = clock.monotonic_s()
        asked = len(running.meters.bus.asked)
        await running.pass_by(600)
        for unit in set(UNITS) - dead:
            times_s = running.shelf.measured_s(unit)
            assert len(times_s) >= 60
            assert all(0.9 * PERIOD_S <= gap <= 1.1 * PERIOD_S for gap in gaps(times_s[2:]))
        waited_s = sum(request[0] in dead for _, request in running.meters.bus.asked[asked:]) * TIMEOUT_S
        assert 0 < waited_s <= SHARE_OF_THE_DEAD * (clock.monotonic_s() - begun_s)
        assert all(state.missed_polls == 0 for state in running.arbiter.states)
        running.arbiter.stop()
        await task

    in_virtual_time(scenario)


def test_a_dead_meter_is_asked_one_question_at_a_time_and_is_bad_in_every_period() -> None:
    async def scenario(clock: Clock) -> None:
        running, task = await started(clock, {7})
        await running.pass_by(600)
        probes = running.meters.asked_s(7)[2:]  # two were needed to see that it is dead
        assert len(probes) > 4
        assert min(gaps(probes)) > 2.0  # nowhere two questions in a row
        assert max(gaps(probes)) <= LONGEST_BACKOFF_S + TIMEOUT_S
        bad = [r for r in running.shelf.readings if r.device_id == "d-7" and r.point == "p_00"]
        assert {(r.value, r.quality, r.reason) for r in bad} == {(None, Quality.BAD, Reason.NO_REPLY)}
        stamps_s = [r.measured_ms / 1000 for r in bad]
        assert len(stamps_s) == 60
        assert max(gaps(stamps_s)) < 2 * PERIOD_S
        running.arbiter.stop()
        await task

    in_virtual_time(scenario)


@pytest.mark.parametrize("dead_for_s", [15.0, 100.0, 400.0])
def test_a_meter_that_is_back_is_read_within_its_back_off(dead_for_s: float) -> None:
    async def scenario(clock: Clock) -> None:
        running, task = await started(clock, set())
        await running.pass_by(60)
        running.meters.dead.add(7)
        await running.pass_by(dead_for_s)
        assert running.state(7).lost_since_ms is not None
        pauses = gaps(running.meters.asked_s(7)[-3:]) or [0.0]
        running.meters.dead.clear()
        back_off_s = min(LONGEST_BACKOFF_S, max(60.0, 2 * pauses[-1]))
        await running.pass_by(back_off_s + TIMEOUT_S)
        assert running.state(7).lost_since_ms is None
        asked = len(running.shelf.measured_s(7))
        await running.pass_by(60)
        assert len(running.shelf.measured_s(7)) - asked >= 6
        running.arbiter.stop()
        await task

    in_virtual_time(scenario)


def test_a_write_goes_before_all_reads_that_are_due() -> None:
    async def scenario(clock: Clock) -> None:
        running, task = await started(clock, set())
        await running.pass_by(10.5)  # the second round has just begun
        before = len(running.meters.bus.asked)
        _, trace = await running.arbiter.read("d-20")
        assert [exchange.problem for exchange in trace] == [""]
        assert {request[0] for _, request in running.meters.bus.asked[before:]} == {20}
        running.arbiter.stop()
        await task

    in_virtual_time(scenario)
