"""CJ/T 188 meters that run: on a line of their own, or as talkers for a line that is shared."""

from functools import partial

from models.profile.cjt188 import Cjt188Profile
from models.times import Clock
from simulators.building import Building
from simulators.cjt188.meter import Cjt188Meter
from simulators.cjt188.sections import Cjt188LineSection
from simulators.cjt188.talker import Cjt188Talker
from simulators.ledger import LedgerWriter
from simulators.line.meter_line import as_given, running_meters
from simulators.profiles import profile_of


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
        meters.append(as_given(meter, given))
    talker = Cjt188Talker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


running_cjt188 = partial(running_meters, make_talker)
"""Serve a line while a block runs, see `running_meters`."""
