"""How many requests one sweep of each shipped profile takes, as the simulated device counts them."""

import asyncio
import sys
from dataclasses import dataclass
from typing import Final

from bench.polled import CLOCK, Polled, driver_of, pseudo_terminal, talker_of
from drivers.line import SerialLine
from drivers.modbus.plan import plan
from edge_agent.catalogue import Catalogue
from models.profile.modbus import ModbusProfile
from models.reading import Reason

BAUD: Final = (
    115_200  # of pseudo-terminals on which bytes take no time: the silence before a request is short
)
_SILENCE: Final = (Reason.NO_REPLY, Reason.BAD_REPLY, Reason.UNREACHABLE, Reason.REFUSED)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One profile, and its requests on the wire and in the plan of its driver."""

    family: str
    profile: str
    points: int
    requests: int
    planned: int


async def measure() -> list[Sweep]:
    """All profiles whose devices are asked on a wire, by family and name. Raises SweepFailed."""
    catalogue = Catalogue()
    profiles = [catalogue.load(name) for name in catalogue.names()]
    found = [await _sweep(profile) for profile in profiles if isinstance(profile, Polled)]
    return sorted(found, key=lambda sweep: (sweep.family, sweep.profile))


class SweepFailed(Exception):
    """A simulated device did not answer all that its driver asks."""


async def _sweep(profile: Polled) -> Sweep:
    talker = talker_of(profile)
    async with pseudo_terminal(talker) as path:
        driver = driver_of(profile, SerialLine(path, baud=BAUD, clock=CLOCK))
        await driver.open()
        try:
            readings, exchanges = await driver.read_traced()
        finally:
            await driver.close()
    for reading in readings:
        if reading.reason in _SILENCE:
            raise SweepFailed(f"{profile.profile}: {reading.point}: {reading.reason}")
    planned = len(exchanges)
    if isinstance(profile, ModbusProfile):
        planned = len(plan(profile.points, profile.modbus))
    return Sweep(profile.family, profile.profile, len(profile.points), talker.requests, planned)


if __name__ == "__main__":
    for sweep in asyncio.run(measure()):
        print(sweep, file=sys.stderr)
