"""Two thousand questions on a line where everything goes wrong: no wrong value, and it recovers by itself."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from drivers.dlt645.driver import Dlt645Driver, make_driver
from drivers.line import SerialLine
from models.profile.dlt645 import Dlt645Profile
from models.reading import Quality, Reading
from simulators.dlt645.line import running_dlt645
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.sections import Dlt645LineSection
from simulators.line.meter_line import MeterLine
from simulators.profiles import profile_of
from tests.support.clocks import START_MS, VirtualClock

KINDS = [
    *("lost", "late", "foreign_unit", "foreign_transaction", "garbled", "bad_checksum", "truncated", "echo"),
    *("duplicate", "exception", "preamble", "reboot"),
]
MORE: dict[str, dict[str, Any]] = {
    "late": {"delay": "35ms"},
    "exception": {"code": 4},
    "reboot": {"lasts": "90s"},
}
METERS = [
    {"id": "in-blocks", "address": "123456789012"},
    {"id": "apart", "address": "123456789013", "blocks": False},
    {"id": "in-frames", "address": "000000000161", "longest": 7},
]
QUESTIONS = 2000


def hasty(profile: Dlt645Profile) -> Dlt645Profile:
    """Waits 20 ms where a line at 2400 baud would need a second."""
    section = profile.dlt645.model_copy(update={"reply_timeout_s": 0.02, "wake_bytes": 0})
    return profile.model_copy(update={"dlt645": section})


def wrong(readings: Sequence[Reading], shown: dict[str, float | None]) -> list[str]:
    """The readings with a value that the meter did not show in this cycle."""
    return [r.point for r in readings if r.value is not None and r.value != shown[r.point]]


@pytest.mark.parametrize("seed", [645])
async def test_no_value_is_wrong_on_a_hostile_line(seed: int) -> None:
    time = VirtualClock()
    faults = [
        {"kind": kind, "probability": 0.006 if kind != "reboot" else 0.001, **MORE.get(kind, {})}
        for kind in KINDS
    ]
    section = Dlt645LineSection.model_validate({"baud": None, "meters": METERS, "faults": faults})
    told: Counter[str] = Counter()
    async with running_dlt645(section, clock=time.clock, seed=seed, origin_ms=START_MS) as line:
        wire = SerialLine(line.line.path, baud=115_200, parity="even", clock=time.clock)
        drivers = drivers_of(line, wire, time)
        for driver in drivers:
            await driver.open()
        while line.talker.requests < QUESTIONS:
            await time.advance(60)
            for driver in drivers:
                shown = line.meter(driver.device_id).display(time.now_ms())
                readings = await driver.read()
                assert wrong(readings, shown) == []
                told.update(reading.quality.name for reading in readings)
        line.talker.faults.clear()
        await time.advance(3600)
        for driver in drivers:
            assert await recovers(driver)
            await driver.close()
    assert told["BAD"] > 10
    assert told["GOOD"] > told["BAD"]


async def recovers(driver: Dlt645Driver) -> bool:
    """On a busy machine an honest reply may take longer than the 20 ms that are waited for, now and then."""
    for _ in range(20):
        if {reading.quality for reading in await driver.read()} == {Quality.GOOD}:
            return True
    return False


def drivers_of(line: MeterLine[Dlt645Meter], wire: SerialLine, time: VirtualClock) -> list[Dlt645Driver]:
    return [
        make_driver(
            device_id=meter.id,
            profile=hasty(profile_of("dlt645-single-phase", Dlt645Profile)),
            address=meter.address,
            line=wire,
            parameters={},
            clock=time.clock,
        )
        for meter in line.talker.meters
    ]


async def test_replies_that_come_in_a_later_cycle_are_never_values_of_that_cycle() -> None:
    """A single identifier, asked again and again: nothing in a reply says which question it answers."""
    time = VirtualClock()
    whole = hasty(profile_of("dlt645-single-phase", Dlt645Profile))
    section = whole.dlt645.model_copy(update={"blocks": (), "retries": 0})
    profile = whole.model_copy(update={"dlt645": section, "points": (whole.point("voltage_v"),)})
    faults = [
        {"kind": "late", "probability": 0.15, "delay": "25ms"},
        {"kind": "late", "probability": 0.15, "delay": "60ms"},
    ]
    served = Dlt645LineSection.model_validate({"baud": None, "meters": METERS[:1], "faults": faults})
    async with running_dlt645(served, clock=time.clock, seed=1, origin_ms=START_MS) as line:
        wire = SerialLine(line.line.path, baud=115_200, parity="even", clock=time.clock)
        [meter] = line.talker.meters
        driver = make_driver(
            device_id=meter.id,
            profile=profile,
            address=meter.address,
            line=wire,
            parameters={},
            clock=time.clock,
        )
        await driver.open()
        values: Counter[float | None] = Counter()
        for _ in range(100):
            await time.advance(600)
            shown = meter.display(time.now_ms())
            readings = await driver.read()
            assert wrong(readings, shown) == []
            values.update(reading.value for reading in readings)
        await driver.close()
    assert len(values) > 5
    assert values[None] > 5
