"""DL/T 645 meters that run: on a line of their own, or as talkers for a line that is shared."""

from functools import partial

from models.profile.dlt645 import Dlt645Profile
from models.times import Clock
from simulators.building import Building
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.sections import Dlt645LineSection
from simulators.dlt645.talker import Dlt645Talker
from simulators.ledger import LedgerWriter
from simulators.line.meter_line import as_given, running_meters
from simulators.profiles import profile_of


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
        meters.append(as_given(meter, given))
    talker = Dlt645Talker(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
    for fault in section.faults:
        talker.faults.add(fault)
    return talker


running_dlt645 = partial(running_meters, make_talker)
"""Serve a line while a block runs, see `running_meters`."""
