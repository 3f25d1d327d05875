"""Modbus meters in a scenario: in racks behind TCP, and on RTU lines."""

import dataclasses
from collections.abc import Iterator, Sequence

from pydantic import Field

from models.document import Mistake
from models.profile.modbus import ModbusProfile
from simulators.faults import Fault
from simulators.fields import DurationMs, Section
from simulators.line.meters import AnyMeter, mistakes_of
from simulators.line.sections import LineSection, Parity
from simulators.modbus.image import Gaps


class MeterSection(AnyMeter):
    unit: int = Field(ge=1, le=247, description="Modbus unit id, 1 to 247")
    gaps: Gaps = Field(default="as_profile", description="whether unmapped registers can be read, as zero")


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
    return mistakes_of(meters, ModbusProfile, by="unit")
