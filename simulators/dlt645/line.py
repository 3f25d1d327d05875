"""DL/T 645 meters that run: on a line of their own, or as talkers for a line that is shared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from models.profile.dlt645 import Dlt645Profile
from models.times import Clock
from simulators.building import Building
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.sections import Dlt645LineSection
from simulators.dlt645.talker import Dlt645Talker
from simulators.ledger import LedgerWriter
from simulators.line.meters import devices_of
from simulators.line.running import RunningLine, running_line
from simulators.line.serial import Sleep
from simulators.profiles import profile_of


class Dlt645Line:
    """What is served at present."""

    def __init__(self, section: Dlt645LineSection, line: RunningLine, talker: Dlt645Talker) -> None:
        self._section, self.line, self.talker = section, line, talker

    def meter(self, meter_id: str) -> Dlt645Meter:
        """Its `faults.add` and `begin` make it misbehave. KeyError when there is none of that id."""
        return {meter.id: meter for meter in self.talker.meters}[meter_id]

    def bus(self, bus_id: str) -> dict[str, Any]:
        """The line as a bus of gateway.yaml."""
        return self.line.bus(bus_id)

    def devices(self, bus_id: str, *, period_s: float = 60) -> list[dict[str, Any]]:
        """The meters as devices of gateway.yaml."""
        return devices_of(self._section.meters, bus_id, period_s=period_s)


def make_talker(
    section: Dlt645LineSection,
    *,
    name: str = "dlt645",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
) -> Dlt645Talker:
    """The meters of a section, without the line that it names. Raises AnomalyMistake."""
    meters = []
    for given in section.meters:
        meter = Dlt645Meter(
            given.id,
            address=given.address,
            profile=profile_of(given.profile, Dlt645Profile),
            building=building or Building(seed=seed),
            kw=given.load_kw,
            origin_ms=origin_ms,
            now_ms=clock.now_ms,
            night_share=given.night_share,
            parameters=given.parameters,
            has_blocks=given.blocks,
            wake_bytes=given.wake_bytes,
            longest=given.longest,
        )
        for anomaly in given.anomalies:
            meter.begin(anomaly)
        for fault in given.faults:
            meter.faults.add(fault)
        meters.append(meter)
    talker = Dlt645Talker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


@asynccontextmanager
async def running_dlt645(
    section: Dlt645LineSection,
    *,
    name: str = "dlt645",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Dlt645Line]:
    """Serve the line while the block runs. Raises CannotOpen and AnomalyMistake."""
    talker = make_talker(
        section, name=name, building=building, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger
    )
    async with running_line(section, [talker], clock=clock, ledger=ledger, wire_sleep=wire_sleep) as line:
        yield Dlt645Line(section, line, talker)
