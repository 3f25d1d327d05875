"""Modbus RTU units that run: on a line of their own, or as a talker for a line that is shared."""

from functools import partial

from models.profile.modbus import ModbusProfile
from models.times import Clock
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.line.meter_line import as_given, running_meters
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.sections import ModbusLineSection
from simulators.modbus.talker import RtuTalker
from simulators.profiles import profile_of


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
        meters.append(as_given(meter, given))
    talker = RtuTalker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


running_modbus_line = partial(running_meters, make_talker)
"""Serve a line while a block runs, see `running_meters`."""
