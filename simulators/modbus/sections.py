"""Modbus meters in a scenario: in racks behind TCP, and on RTU lines."""

import dataclasses
from collections.abc import Iterator, Sequence

from pydantic import Field

from models.document import DocumentMistakes, Mistake
from models.document_hints import suggest
from models.profile import WrongFamily, parameter_mistakes
from models.profile.modbus import ModbusProfile
from simulators.anomalies import Anomaly, Jump
from simulators.faults import Fault
from simulators.fields import DurationMs, Section
from simulators.line.sections import LineSection, Parity
from simulators.modbus.image import Gaps
from simulators.profiles import UnknownProfile, profile_of


class MeterSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    unit: int = Field(ge=1, le=247, description="Modbus unit id, 1 to 247")
    profile: str = Field(description="name of a profile")
    load_kw: float = Field(default=20.0, gt=0, le=100_000, description="what it draws on a usual working day")
    night_share: float | None = Field(
        default=None, ge=0, le=1, description="where it differs from the building's"
    )
    parameters: dict[str, float] = Field(default={}, description="of the profile, such as ct")
    gaps: Gaps = Field(default="as_profile", description="whether unmapped registers can be read, as zero")
    anomalies: tuple[Anomaly, ...] = ()
    faults: tuple[Fault, ...] = ()


class RackSection(Section):
    port: int = Field(default=0, ge=0, le=65535, description="TCP port; 0: a free one")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    meters: tuple[MeterSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole endpoint")


class ModbusLineSection(LineSection):
    baud: int | None = Field(
        default=9600, ge=300, le=4_000_000, description="what bytes take; null: no time at all"
    )
    parity: Parity = "none"
    turnaround_ms: DurationMs = Field(default=5, description="what a device needs to answer, as 20ms")
    meters: tuple[MeterSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole line")


def find_mistakes(line: ModbusLineSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself; paths begin at `meters`."""
    for mistake in meter_mistakes(line.meters):
        yield dataclasses.replace(mistake, path=("meters", *mistake.path))


def meter_mistakes(meters: Sequence[MeterSection]) -> Iterator[Mistake]:
    """The same of meters that share a rack or a line; paths begin at their place."""
    ids: set[str] = set()
    units: set[int] = set()
    for m, meter in enumerate(meters):
        if meter.id in ids:
            yield Mistake((m, "id"), f"a meter '{meter.id}' stands above already")
        if meter.unit in units:
            yield Mistake((m, "unit"), f"unit {meter.unit} stands above already on the same wire")
        ids.add(meter.id)
        units.add(meter.unit)
        for mistake in _meter_mistakes(meter):
            yield dataclasses.replace(mistake, path=(m, *mistake.path))


def _meter_mistakes(meter: MeterSection) -> Iterator[Mistake]:
    try:
        profile = profile_of(meter.profile, ModbusProfile)
    except UnknownProfile as err:
        yield Mistake(("profile",), f"there is no profile '{meter.profile}'", err.hint)
        return
    except DocumentMistakes as err:
        yield Mistake(("profile",), f"the profile is wrong: {err.problems[0]}")
        return
    except WrongFamily as err:
        yield Mistake(("profile",), f"'{meter.profile}' is no Modbus device but one of {err.family}")
        return
    yield from parameter_mistakes(profile, meter.parameters)
    known = [point.name for point in profile.points]
    for a, anomaly in enumerate(meter.anomalies):
        for name in anomaly.points if isinstance(anomaly, Jump) else ():
            if name not in known:
                path = ("anomalies", a, "points")
                yield Mistake(path, f"there is no point '{name}'", suggest(name, known))
