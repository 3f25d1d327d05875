"""A line of DL/T 645 meters in a scenario."""

from collections.abc import Iterator

from pydantic import Field

from models.document import Mistake
from models.profile.dlt645 import Dlt645Profile
from simulators.faults import Fault
from simulators.line.meters import Addressed, mistakes_of
from simulators.line.sections import LineSection


class Dlt645MeterSection(Addressed):
    address: str = Field(pattern=r"^[0-9]{12}$", description="the 12 digits on its front")
    profile: str = Field(default="dlt645-single-phase", description="name or .yaml file of a profile")
    blocks: bool = Field(default=True, description="whether it knows the blocks of its profile")
    wake_bytes: int = Field(default=4, ge=0, le=64, description="bytes FE before its answers")
    longest: int = Field(
        default=200, ge=1, le=200, description="bytes of data in one frame; what is left follows in others"
    )


class Dlt645LineSection(LineSection):
    meters: tuple[Dlt645MeterSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole line")


def find_mistakes(line: Dlt645LineSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself; paths begin at `meters`."""
    for mistake in mistakes_of(line.meters, Dlt645Profile):
        yield Mistake(("meters", *mistake.path), mistake.what, mistake.hint)
