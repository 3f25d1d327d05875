"""Modbus RTU units that run: on a line of their own, or as a talker for a line that is shared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from models.profile.modbus import ModbusProfile
from models.times import Clock
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.line.running import RunningLine, running_line
from simulators.line.serial import Sleep
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.sections import ModbusLineSection
from simulators.modbus.talker import RtuTalker
from simulators.profiles import profile_of


class ModbusLine:
    """What is served at present."""

    def __init__(self, section: ModbusLineSection, line: RunningLine, talker: RtuTalker) -> None:
        self._section, self.line, self.talker = section, line, talker

    def meter(self, meter_id: str) -> ModbusMeter:
        """Its `faults.add` and `begin` make it misbehave. KeyError when there is none of that id."""
        return {meter.id: meter for meter in self.talker.meters}[meter_id]

    def bus(self, bus_id: str) -> dict[str, Any]:
        """The line as a bus of gateway.yaml."""
        return self.line.bus(bus_id)

    def devices(self, bus_id: str, *, period_s: float = 60) -> list[dict[str, Any]]:
        """The meters as devices of gateway.yaml."""
        return [
            {
                "id": meter.id,
                "name": meter.id,
                "bus": bus_id,
                "unit": meter.unit,
                "profile": meter.profile,
                "period_s": period_s,
                **({"parameters": meter.parameters} if meter.parameters else {}),
            }
            for meter in self._section.meters
        ]


def make_talker(
    section: ModbusLineSection,
    *,
    name: str = "line",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
) -> RtuTalker:
    """The units of a section, without the line that it names. Raises AnomalyMistake."""
    meters = []
    for given in section.meters:
        meter = ModbusMeter(
            given.id,
            unit=given.unit,
            profile=profile_of(given.profile, ModbusProfile),
            building=building or Building(seed=seed),
            kw=given.load_kw,
            origin_ms=origin_ms,
            now_ms=clock.now_ms,
            night_share=given.night_share,
            parameters=given.parameters,
            gaps=given.gaps,
        )
        for anomaly in given.anomalies:
            meter.begin(anomaly)
        for fault in given.faults:
            meter.faults.add(fault)
        meters.append(meter)
    talker = RtuTalker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


@asynccontextmanager
async def running_modbus_line(
    section: ModbusLineSection,
    *,
    name: str = "line",
    building: Building | None = None,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[ModbusLine]:
    """Serve the line while the block runs. Raises CannotOpen and AnomalyMistake."""
    talker = make_talker(
        section, name=name, building=building, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger
    )
    async with running_line(section, [talker], clock=clock, ledger=ledger, wire_sleep=wire_sleep) as line:
        yield ModbusLine(section, line, talker)
