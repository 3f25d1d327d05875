"""CJ/T 188 meters that run: on a line of their own, or as talkers for a line that is shared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from models.profile.cjt188 import Cjt188Profile
from models.times import Clock
from simulators.building import Building
from simulators.cjt188.meter import Cjt188Meter
from simulators.cjt188.sections import Cjt188LineSection
from simulators.cjt188.talker import Cjt188Talker
from simulators.ledger import LedgerWriter
from simulators.line.meters import devices_of
from simulators.line.running import RunningLine, running_line
from simulators.line.serial import Sleep
from simulators.profiles import profile_of


class Cjt188Line:
    """What is served at present."""

    def __init__(self, section: Cjt188LineSection, line: RunningLine, talker: Cjt188Talker) -> None:
        self._section, self.line, self.talker = section, line, talker

    def meter(self, meter_id: str) -> Cjt188Meter:
        """Its `faults.add` and `begin` make it misbehave. KeyError when there is none of that id."""
        return {meter.id: meter for meter in self.talker.meters}[meter_id]

    def bus(self, bus_id: str) -> dict[str, Any]:
        """The line as a bus of gateway.yaml."""
        return self.line.bus(bus_id)

    def devices(self, bus_id: str, *, period_s: float = 60) -> list[dict[str, Any]]:
        """The meters as devices of gateway.yaml."""
        return devices_of(self._section.meters, bus_id, period_s=period_s)


def make_talker(
    section: Cjt188LineSection,
    *,
    name: str = "cjt188",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
) -> Cjt188Talker:
    """The meters of a section, without the line that it names. Raises AnomalyMistake and UnitMistake."""
    meters = []
    for given in section.meters:
        meter = Cjt188Meter(
            given.id,
            address=given.address,
            profile=profile_of(given.profile, Cjt188Profile),
            building=building or Building(seed=seed),
            kw=given.load_kw,
            origin_ms=origin_ms,
            now_ms=clock.now_ms,
            night_share=given.night_share,
            parameters=given.parameters,
            counts_in=given.counts_in,
            states=given.states,
            wake_bytes=given.wake_bytes,
        )
        for anomaly in given.anomalies:
            meter.begin(anomaly)
        for fault in given.faults:
            meter.faults.add(fault)
        meters.append(meter)
    talker = Cjt188Talker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


@asynccontextmanager
async def running_cjt188(
    section: Cjt188LineSection,
    *,
    name: str = "cjt188",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Cjt188Line]:
    """Serve the line while the block runs. Raises CannotOpen, AnomalyMistake and UnitMistake."""
    talker = make_talker(
        section, name=name, building=building, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger
    )
    async with running_line(section, [talker], clock=clock, ledger=ledger, wire_sleep=wire_sleep) as line:
        yield Cjt188Line(section, line, talker)
