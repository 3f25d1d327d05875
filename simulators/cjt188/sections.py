"""A line of CJ/T 188 meters in a scenario."""

from collections.abc import Iterator

from pydantic import Field

from models.document import Mistake
from models.profile.cjt188 import Cjt188Profile
from simulators.faults import Fault
from simulators.line.meters import Addressed, mistakes_of
from simulators.line.sections import LineSection


class Cjt188MeterSection(Addressed):
    address: str = Field(pattern=r"^[0-9A-Fa-f]{14}$", description="14 digits: the maker's code, the number")
    profile: str = Field(default="cjt188-water", description="name or .yaml file of a profile")
    counts_in: dict[str, str] = Field(
        default={}, description='its own unit of a point, where it is not the profile\'s: {"volume_m3": "L"}'
    )
    states: dict[str, int] = Field(default={}, description='what its bits show: {"battery_low": 1}')
    wake_bytes: int = Field(default=2, ge=0, le=64, description="bytes FE before its answers")


class Cjt188LineSection(LineSection):
    meters: tuple[Cjt188MeterSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole line")


def find_mistakes(line: Cjt188LineSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself; paths begin at `meters`."""
    for mistake in mistakes_of(line.meters, Cjt188Profile):
        yield Mistake(("meters", *mistake.path), mistake.what, mistake.hint)
