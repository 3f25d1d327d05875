"""What a line at 9600 baud gives: one large sweep, and 20 meters of which one dies and comes back.

The line is a pseudo-terminal on which each byte takes the time of 11 bits, and each meter 20 ms before it
answers. The times are real, and what the machine adds to them is in the figures.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.meters import meter20
from bench.polled import CLOCK, driver_of, meter, pseudo_terminal, talker_of, units
from demo.processes import Part, module
from drivers.contract import Driver
from drivers.line import SerialLine
from drivers.modbus.driver import make_driver
from drivers.modbus.rtu_link import RtuLink
from edge_agent.polling import Arbiter
from edge_agent.schedule import FIRST_BACKOFF_S, SHARE_OF_THE_DEAD, Device
from models.profile import as_family, load_profile
from models.profile.modbus import ModbusProfile
from models.reading import Item, Quality, Reading
from simulators.faults import Fault, FaultSet

BAUD: Final = 9600
TURNAROUND_MS: Final = 20
PROFILE_FILE: Final = Path(__file__).with_name("bench-float40.yaml")
SWEEPS: Final = 10
SWEEP_BYTES: Final = 8 + 5 + 160  # the request, the frame around the reply, 80 registers

METERS: Final = 20
DYING: Final = 10  # the unit that dies: one in the middle, so that others wait for it
PERIOD_S: Final = 8.0
CALM_POLLS: Final = 2  # of each meter before that
REPLY_TIMEOUT_S: Final = 0.3
PROBES: Final = 3  # in vain, then it comes to life again
PATIENCE_S: Final = 60.0


class Survival(NamedTuple):
    """How a line with a dead meter does."""

    calm: float  # the worst lengthening of a period while all 20 live, as a part of it
    lengthening: float  # of the 19 others, from the death of the one until it is back
    share: float  # of the bus that the dead one takes, from its first silence to its last
    backoff_s: float  # the longest that the pause may be at whose beginning it came to life
    back_s: float  # from then to its first reading


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds for 40 float32 points, and how 20 meters do."""

    sweep_s: float  # median
    wire_s: float  # what the bytes and the meter take of it
    survival: Survival

    @property
    def is_back_in_time(self) -> bool:
        """Within one back-off and what one reading takes, which may wait for one of another meter."""
        return self.survival.back_s <= self.survival.backoff_s + 2 * REPLY_TIMEOUT_S


async def measure() -> Result:
    """Runs for three quarters of a minute, in a process of its own that is asleep for most of it."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        line = Part("line", module("bench.lines"), Path(name) / "line.log")
        await line.start()
        try:
            told = await line.first_line()
        finally:
            await line.stop()
    return Result(**told | {"survival": Survival(**told["survival"])})


async def _main() -> None:
    wire_s = SWEEP_BYTES * 11 / BAUD + TURNAROUND_MS / 1000
    sweep_s, survival = await _sweep_s(), await _survival()
    told = {"sweep_s": sweep_s, "wire_s": wire_s, "survival": survival._asdict()}
    print(json.dumps(told), flush=True)


async def _sweep_s() -> float:
    profile = as_family(load_profile(PROFILE_FILE.read_bytes(), PROFILE_FILE.name), ModbusProfile)
    async with pseudo_terminal(talker_of(profile), baud=BAUD, turnaround_ms=TURNAROUND_MS) as path:
        driver = driver_of(profile, SerialLine(path, baud=BAUD, clock=CLOCK))
        await driver.open()
        took_s = []
        for _ in range(SWEEPS):
            began_s = CLOCK.monotonic_s()
            readings = await driver.read()
            took_s.append(CLOCK.monotonic_s() - began_s)
            if any(reading.quality is Quality.BAD for reading in readings):
                raise RuntimeError("the simulated meter did not answer all 40 points")
        await driver.close()
    return median(took_s)


async def _survival() -> Survival:
    profile = meter20()
    section = profile.modbus.model_copy(update={"reply_timeout_s": REPLY_TIMEOUT_S})
    profile = profile.model_copy(update={"modbus": section})
    meters = {unit: meter(profile, unit) for unit in range(1, METERS + 1)}
    async with pseudo_terminal(units(meters.values()), baud=BAUD, turnaround_ms=TURNAROUND_MS) as path:
        link = RtuLink(SerialLine(path, baud=BAUD, clock=CLOCK))
        drivers = {
            unit: _Watched(
                make_driver(
                    device_id=str(unit), profile=profile, unit=unit, link=link, parameters={}, clock=CLOCK
                )
            )
            for unit in meters
        }
        points = tuple(point.name for point in profile.points)
        devices = [
            Device(id=str(unit), driver=driver, points=points, period_s=PERIOD_S)
            for unit, driver in drivers.items()
        ]
        arbiter = Arbiter("line", devices, _Nowhere(), clock=CLOCK)
        running = asyncio.create_task(arbiter.run(), name="arbiter")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await _story(drivers, meters[DYING].faults)
        finally:
            arbiter.stop()
            await running


async def _story(drivers: "Mapping[int, _Watched]", faults: FaultSet) -> Survival:
    """Some periods of peace, death, questions in vain, and life."""
    dying = drivers[DYING]
    others = [driver for unit, driver in drivers.items() if unit != DYING]
    await dying.polled(CALM_POLLS)
    silence = faults.add(Fault(kind="silence"))
    calm = _lengthening([driver.polls for driver in others], 0, CLOCK.now_ms())
    died_ms = CLOCK.now_ms()
    await dying.polled(CALM_POLLS + PROBES)
    faults.remove(silence)
    alive_s = CLOCK.monotonic_s()
    await dying.polled(CALM_POLLS + PROBES + 1)
    *probes, back = dying.polls[CALM_POLLS:]
    if any(probe.is_good for probe in probes) or not back.is_good:
        raise RuntimeError("the simulated meter did not fall silent, or did not come back, when it should")
    return Survival(
        calm,
        _lengthening([driver.polls for driver in others], died_ms - round(1000 * PERIOD_S), CLOCK.now_ms()),
        sum(probe.took_s for probe in probes[:-1]) / (probes[-1].began_s - probes[0].began_s),
        max(FIRST_BACKOFF_S * 2 ** (PROBES - 1), probes[-1].took_s * (1 / SHARE_OF_THE_DEAD - 1)),
        back.began_s + back.took_s - alive_s,
    )


def _lengthening(meters: Sequence["Sequence[_Poll]"], from_ms: int, to_ms: int) -> float:
    """By how much the longest time between two readings of any meter is more than the period."""
    longest_ms = max(
        two.measured_ms - one.measured_ms
        for polls in meters
        for one, two in pairwise(poll for poll in polls if from_ms <= poll.measured_ms <= to_ms)
    )
    return longest_ms / 1000 / PERIOD_S - 1


class _Poll(NamedTuple):
    began_s: float
    took_s: float
    measured_ms: int
    is_good: bool


class _Watched:
    """A `Driver` that notes when it was used, and for how long."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.polls: list[_Poll] = []
        self._news = asyncio.Event()

    async def open(self) -> None:
        await self._driver.open()

    async def read(self) -> list[Reading]:
        began_s = CLOCK.monotonic_s()
        readings = await self._driver.read()
        is_good = all(reading.quality is not Quality.BAD for reading in readings)
        took_s = CLOCK.monotonic_s() - began_s
        self.polls.append(_Poll(began_s, took_s, readings[0].measured_ms, is_good))
        self._news.set()
        return readings

    async def close(self) -> None:
        await self._driver.close()

    async def polled(self, count: int) -> None:
        """Return once it has been read so often."""
        while len(self.polls) < count:
            self._news.clear()
            await self._news.wait()


class _Nowhere:
    """A `Sink` that keeps nothing."""

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        pass

    async def marks(self, prefix: str) -> dict[str, str]:
        return {}


if __name__ == "__main__":
    asyncio.run(_main())
