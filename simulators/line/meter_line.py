"""A line of meters of one family that runs, and what a gateway must be told to read it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from models.times import Clock
from simulators.anomalies import Anomaly
from simulators.building import Building
from simulators.faults import Fault
from simulators.ledger import LedgerWriter
from simulators.line.meters import devices_of
from simulators.line.running import RunningLine, running_line
from simulators.line.sections import LineSection
from simulators.line.serial import Sleep
from simulators.line.talker import MeterTalker
from simulators.metered import Metered

M = TypeVar("M", bound=Metered)
S = TypeVar("S", bound=LineSection)


class Given(Protocol):
    """What a scenario says of any meter."""

    @property
    def anomalies(self) -> Sequence[Anomaly]: ...

    @property
    def faults(self) -> Sequence[Fault]: ...


class MeterLine(Generic[M]):
    """What is served at present."""

    def __init__(self, section: Any, line: RunningLine, talker: Any) -> None:
        self._section, self.line, self.talker = section, line, talker

    def meter(self, meter_id: str) -> M:
        """Its `faults.add` and `begin` make it misbehave. KeyError when there is none of that id."""
        meters: dict[str, M] = {meter.id: meter for meter in self.talker.meters}
        return meters[meter_id]

    def bus(self, bus_id: str) -> dict[str, Any]:
        """The line as a bus of gateway.yaml."""
        return self.line.bus(bus_id)

    def devices(self, bus_id: str, *, period_s: float = 60) -> list[dict[str, Any]]:
        """The meters as devices of gateway.yaml."""
        return devices_of(self._section.meters, bus_id, period_s=period_s)


def as_given(meter: M, given: Given) -> M:
    """The meter with the anomalies and faults that a scenario gives it. Raises AnomalyMistake."""
    for anomaly in given.anomalies:
        meter.begin(anomaly)
    for fault in given.faults:
        meter.faults.add(fault)
    return meter


@asynccontextmanager
async def running_meters(
    make_talker: Callable[..., MeterTalker[Any, Any]],
    section: S,
    *,
    name: str = "line",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[MeterLine[Any]]:
    """Serve a line while the block runs; `make_talker` is that of its family. Raises CannotOpen."""
    talker = make_talker(
        section, name=name, building=building, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger
    )
    async with running_line(section, [talker], clock=clock, ledger=ledger, wire_sleep=wire_sleep) as line:
        yield MeterLine(section, line, talker)
