"""The arbiter on a virtual clock: who is asked when, and what is said of those who do not answer."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from drivers.contract import CommandRefused, DeviceUnreachable, Exchange
from edge_agent.polling import Arbiter
from edge_agent.schedule import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Device
from models.reading import Item, Quality, Reading, Reason
from tests.support.clocks import START_MS, VirtualClock, settle

POINTS = ("power_w", "energy_kwh")
TIMEOUT_S = 1.5


@dataclass
class Meter:
    """A driver of a device that answers in `takes_s`, or not at all."""

    clock: VirtualClock
    name: str
    takes_s: float = 0.05
    silent: Reason | None = None
    partly: bool = False
    fails: Exception | None = None
    asked_s: list[float] = field(default_factory=list)
    reads: int = 0
    opened: int = 0
    closed: int = 0
    on_read: Callable[[], None] = lambda: None

    async def open(self) -> None:
        self.opened += 1
        if self.silent is Reason.UNREACHABLE:
            raise DeviceUnreachable("192.0.2.1:502", "no route")

    async def read(self) -> list[Reading]:
        self.asked_s.append(self.clock.monotonic_s())
        self.on_read()
        if self.fails is not None:
            raise self.fails
        await self.clock.sleep(TIMEOUT_S if self.silent else self.takes_s)
        self.reads += 1
        now_ms = self.clock.now_ms()
        readings = []
        for point in POINTS:
            bad = self.silent or (Reason.NO_REPLY if self.partly and point == POINTS[0] else None)
            readings.append(
                Reading(
                    device_id=self.name,
                    point=point,
                    value=None if bad else float(self.reads),
                    quality=Quality.BAD if bad else Quality.GOOD,
                    reason=bad or Reason.NONE,
                    measured_ms=now_ms,
                    received_ms=now_ms,
                )
            )
        return readings

    async def close(self) -> None:
        self.closed += 1


class Shelf:
    """A sink that keeps what it gets, and may take its time."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        await self.gate.wait()
        self.readings += [item for item in items if isinstance(item, Reading)]

    async def marks(self, prefix: str) -> dict[str, str]:
        return {}

    def of(self, meter: Meter) -> list[Reading]:
        return [reading for reading in self.readings if reading.device_id == meter.name]


class Bus:
    """Some meters behind one arbiter."""

    def __init__(self, clock: VirtualClock, meters: list[Meter], period_s: float) -> None:
        self.clock, self.meters, self.shelf = clock, meters, Shelf()
        self.missed = 0
        devices = [Device(id=m.name, driver=m, points=POINTS, period_s=period_s) for m in meters]
        self.arbiter = Arbiter("rack", devices, self.shelf, clock=clock.clock, on_missed=self._note_missed)

    def _note_missed(self, bus: str, count: int) -> None:
        self.missed += count

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Bus"]:
        task = asyncio.create_task(self.arbiter.run())
        try:
            yield self
        finally:
            self.arbiter.stop()
            await self.clock.advance(200)
            await task
        assert all(meter.closed == 1 for meter in self.meters)


def meters(clock: VirtualClock, count: int) -> list[Meter]:
    return [Meter(clock, f"meter-{number:02}") for number in range(count)]


async def test_each_device_is_read_on_a_grid_that_does_not_drift(clock: VirtualClock) -> None:
    rng = random.Random(3)
    bus = Bus(clock, meters(clock, 5), 10)
    for meter in bus.meters:
        meter.on_read = lambda meter=meter: setattr(meter, "takes_s", rng.uniform(0.01, 0.3))  # type: ignore[misc]
    async with bus.running():
        await clock.advance(999)
        for meter in bus.meters:
            late = [at - 10 * number for number, at in enumerate(meter.asked_s)]
            assert len(late) == 100
            assert 0 <= min(late) <= max(late) < 1.5
            assert len(bus.shelf.of(meter)) == 200


async def test_devices_of_one_bus_are_read_in_a_row_in_each_period(clock: VirtualClock) -> None:
    bus = Bus(clock, [Meter(clock, f"m{n}", takes_s=0.1) for n in range(4)], 60)
    async with bus.running():
        await clock.advance(61)
        for number, meter in enumerate(bus.meters):
            assert meter.asked_s == pytest.approx([0.1 * number, 60 + 0.1 * number])


async def test_one_dead_device_does_not_cost_the_others_their_period(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 20), 10)
    dead = bus.meters[7]
    dead.silent = Reason.NO_REPLY
    async with bus.running():
        await clock.advance(899)
        others = [meter for meter in bus.meters if meter is not dead]
        assert all(len(meter.asked_s) == 90 for meter in others)
        for meter in others:
            gaps = [after - before for before, after in pairwise(meter.asked_s)]
            assert max(gaps) <= 10 + TIMEOUT_S + 20 * 0.05
        assert len(dead.asked_s) * TIMEOUT_S <= 0.05 * 900 + TIMEOUT_S
        assert bus.missed == 0


async def test_a_dead_device_is_bad_in_every_period_and_never_shows_an_old_value(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 2), 10)
    dying = bus.meters[0]
    async with bus.running():
        await clock.advance(95)
        assert [r.value for r in bus.shelf.of(dying) if r.point == "power_w"] == [
            float(n) for n in range(1, 11)
        ]
        dying.silent = Reason.NO_REPLY
        await clock.advance(600)
        bad = bus.shelf.of(dying)[20:]
        assert len(bad) == 2 * 60
        assert {(r.value, r.quality, r.reason) for r in bad} == {(None, Quality.BAD, Reason.NO_REPLY)}
        stamps = sorted({r.measured_ms for r in bad})
        assert len(stamps) == 60
        assert all(8000 <= after - before <= 12_000 for before, after in pairwise(stamps))


async def test_pauses_double_up_to_five_minutes(clock: VirtualClock) -> None:
    bus = Bus(clock, [Meter(clock, "m", silent=Reason.UNREACHABLE)], 3600)
    async with bus.running():
        await clock.advance(3000)
        asked = bus.meters[0].asked_s
        gaps = [after - before for before, after in pairwise(asked)]
        fair = TIMEOUT_S * 19  # asking after it may cost one twentieth of the bus
        expected = [
            max(min(FIRST_BACKOFF_S * 2**n, LONGEST_BACKOFF_S), fair) + TIMEOUT_S for n in range(len(gaps))
        ]
        assert gaps == pytest.approx(expected)
        assert max(gaps) == pytest.approx(LONGEST_BACKOFF_S + TIMEOUT_S)


async def test_a_device_that_is_back_is_found_within_its_pause_and_keeps_its_grid(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus(clock, meters(clock, 2), 60)
    meter = bus.meters[0]
    meter.silent = Reason.NO_REPLY
    async with bus.running():
        await clock.advance(1000)
        assert [(s.lost_since_ms, s.reason) for s in bus.arbiter.states] == [
            (START_MS + round(TIMEOUT_S * 1000), Reason.NO_REPLY),
            (None, Reason.NONE),
        ]
        meter.silent = None
        asked = len(meter.asked_s)
        await clock.advance(LONGEST_BACKOFF_S)
        assert bus.arbiter.states[0].lost_since_ms is None
        good = [r for r in bus.shelf.of(meter) if r.quality is Quality.GOOD and r.point == "power_w"]
        assert good[0].measured_ms <= START_MS + (1000 + LONGEST_BACKOFF_S) * 1000
        await clock.advance(200)
        slots = [at % 60 for at in meter.asked_s[asked + 1 :]]
        assert max(slots) < 1.0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0] == "meter-00: no reply"
    assert said[1].startswith("meter-00: back after ")


async def test_one_answer_from_an_unreachable_bus_makes_all_its_devices_be_asked(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 5), 60)
    for meter in bus.meters:
        meter.silent = Reason.UNREACHABLE
    async with bus.running():
        await clock.advance(3600)
        for meter in bus.meters:
            meter.silent = None
        back_s = None
        for _ in range(400):
            await clock.advance(1)
            found = sum(state.lost_since_ms is None for state in bus.arbiter.states)
            back_s = back_s or (found and clock.monotonic_s())
        assert back_s
        assert all(any(back_s - 1 <= at <= back_s + 1 for at in meter.asked_s) for meter in bus.meters)


async def test_a_device_with_one_bad_point_is_not_lost(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 1), 10)
    bus.meters[0].partly = True
    async with bus.running():
        await clock.advance(99)
        assert len(bus.meters[0].asked_s) == 10
        assert bus.arbiter.states[0].lost_since_ms is None


async def test_a_driver_that_fails_costs_its_own_device_alone_and_is_said_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus(clock, meters(clock, 3), 10)
    bus.meters[1].fails = ZeroDivisionError("a bug")
    async with bus.running():
        await clock.advance(299)
        assert len(bus.shelf.of(bus.meters[0])) == len(bus.shelf.of(bus.meters[2])) == 60
        assert {r.quality for r in bus.shelf.of(bus.meters[1])} == {Quality.BAD}
        assert len(bus.shelf.of(bus.meters[1])) == 60
    assert sum("its driver failed" in record.getMessage() for record in caplog.records) == 1


async def test_a_slot_that_has_passed_is_skipped_and_counted_and_never_doubled(clock: VirtualClock) -> None:
    bus = Bus(clock, [Meter(clock, "slow", takes_s=25)], 10)
    async with bus.running():
        await clock.advance(250)
        assert bus.meters[0].asked_s == [25.0 * n for n in range(11)]
        state = bus.arbiter.states[0]
        assert state.missed_polls == bus.missed == 26 - 11


async def test_the_device_with_the_earliest_deadline_goes_first(clock: VirtualClock) -> None:
    hasty, patient = Meter(clock, "hasty", takes_s=0.6), Meter(clock, "patient", takes_s=3)
    shelf = Shelf()
    devices = [
        Device(id="patient", driver=patient, points=POINTS, period_s=60),
        Device(id="hasty", driver=hasty, points=POINTS, period_s=5),
    ]
    arbiter = Arbiter("rack", devices, shelf, clock=clock.clock)
    task = asyncio.create_task(arbiter.run())
    await clock.advance(599)
    arbiter.stop()
    await clock.advance(10)
    await task
    assert arbiter.states[1].missed_polls == 0
    assert len(patient.asked_s) == 10


async def test_a_device_is_not_read_again_before_its_readings_are_durable(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 2), 10)
    async with bus.running():
        await clock.advance(5)
        bus.shelf.gate.clear()
        await clock.advance(60)
        assert [len(meter.asked_s) for meter in bus.meters] == [2, 2]
        assert len(bus.shelf.readings) == 4
        bus.shelf.gate.set()
        await settle()
        await clock.advance(1)
        assert [len(meter.asked_s) for meter in bus.meters] == [3, 3]
        assert bus.missed == 8


async def test_stopping_finishes_the_poll_that_is_under_way(clock: VirtualClock) -> None:
    meter = Meter(clock, "m", takes_s=3)
    bus = Bus(clock, [meter], 10)
    task = asyncio.create_task(bus.arbiter.run())
    await clock.advance(1)
    bus.arbiter.stop()
    await clock.advance(0.5)
    assert not task.done()
    await clock.advance(2)
    await task
    assert len(bus.shelf.readings) == 2
    assert (meter.opened, meter.closed) == (1, 1)


async def test_being_cancelled_closes_the_drivers(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 2), 10)
    task = asyncio.create_task(bus.arbiter.run())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [meter.closed for meter in bus.meters] == [1, 1]


async def test_a_bus_without_work_waits(clock: VirtualClock) -> None:
    bus = Bus(clock, meters(clock, 1), 60)
    async with bus.running():
        bus.shelf.gate.clear()
        await clock.advance(7200)
        assert len(bus.meters[0].asked_s) == 1
        bus.shelf.gate.set()


@dataclass
class Lamp(Meter):
    """A driver that can be told things, and shows the bytes."""

    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def act(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        await self.clock.sleep(self.takes_s)
        self.told.append((action, arguments))
        return {"at_s": self.clock.monotonic_s()}

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        return await self.read(), [Exchange(b"?", (b"!",), "", 0, 1)]


async def test_what_a_device_is_told_goes_before_all_that_is_due_and_in_its_order(
    clock: VirtualClock,
) -> None:
    lamp = Lamp(clock, "lamp", takes_s=0.1)
    bus = Bus(clock, [lamp, *(Meter(clock, f"m{n}", takes_s=1) for n in range(8))], 10)
    async with bus.running():
        await clock.advance(12.5)  # in the middle of a round
        told = [asyncio.create_task(bus.arbiter.act("lamp", "write", {"n": n})) for n in range(3)]
        await clock.advance(2)
        assert [task.result()["at_s"] - 12.5 < 1.5 for task in told] == [True] * 3
    assert [arguments["n"] for _, arguments in lamp.told] == [0, 1, 2]


async def test_a_device_is_read_for_a_person_out_of_turn_and_nothing_of_it_is_stored(
    clock: VirtualClock,
) -> None:
    lamp = Lamp(clock, "lamp")
    bus = Bus(clock, [lamp, *meters(clock, 1)], 3600)
    async with bus.running():
        await clock.advance(10)
        stored = len(bus.shelf.readings)
        shown = asyncio.create_task(bus.arbiter.read("lamp"))
        await clock.advance(1)
        readings, [exchange] = shown.result()
        assert ({reading.point for reading in readings}, exchange.request) == (set(POINTS), b"?")
        assert len(bus.shelf.readings) == stored
        for refused in (bus.arbiter.read("meter-00"), bus.arbiter.act("meter-00", "write", {})):
            with pytest.raises(CommandRefused):
                await asyncio.gather(refused, clock.advance(1))


async def test_what_nobody_waits_for_any_more_is_not_done(clock: VirtualClock) -> None:
    """Its time may be over: a door must not open because a bus was slow."""
    lamp = Lamp(clock, "lamp")
    bus = Bus(clock, [lamp, Meter(clock, "slow", takes_s=60)], 3600)
    async with bus.running():
        await clock.advance(10)  # the slow one is being read
        told = asyncio.create_task(bus.arbiter.act("lamp", "write", {}))
        await settle()
        told.cancel()
        await clock.advance(100)
    assert told.cancelled()
    assert lamp.told == []
