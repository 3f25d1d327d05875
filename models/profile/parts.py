"""What the profiles of all families have in common."""

from fractions import Fraction
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_DECIMALS = 12


def _written_by_a_person(number: float) -> float:
    """Refuse numbers that no arithmetic could keep exact, such as 1e-300."""
    if Fraction(str(number)).denominator > 10**MOST_DECIMALS:
        raise ValueError(f"must have at most {MOST_DECIMALS} digits behind the point")
    return number


_Exact = AfterValidator(_written_by_a_person)
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False), _Exact]
Positive = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False), _Exact]
Ratio = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), _Exact]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class Section(BaseModel):
    """Any part of a profile: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(Section):
    """One quantity: what it is called and what it means.

    value = raw x scale x the parameters of `multiply_by` + offset, rounded once, to `decimals`.
    `min`, `max`, `modulus` and `max_rate_per_h` hold for parameters of 1 and grow with them.
    """

    name: Name = Field(description="lower case with the unit at its end: voltage_l1_v")
    title: str = Field(default="", description="for people, where the name is not enough")
    unit: str = Field(max_length=12, description='"kWh", "V"; "1" for a plain number, "" for a state')
    kind: Literal["gauge", "counter", "state"] = Field(description="gauge, counter or state")
    scale: Number = Field(default=1.0, description="unit per count; not 0")
    offset: Number = Field(default=0.0, description="added at the end, in `unit`")
    multiply_by: tuple[str, ...] = Field(
        default=(), description="names of parameters, such as transformer ratios"
    )
    decimals: int = Field(default=3, ge=0, le=9, description="the resolution of the value")
    min: Number | None = Field(default=None, description="below this the value is SUSPECT")
    max: Number | None = Field(default=None, description="above this the value is SUSPECT")
    modulus: Positive | None = Field(default=None, description="a counter starts again from 0 at this value")
    max_rate_per_h: Positive | None = Field(
        default=None, description="a counter cannot grow faster than this"
    )
    item_code: str | None = Field(
        default=None,
        pattern=r"^[0-9]{2}[0-9A-Z]{3}$",
        description='energy item, 5 characters: "01000" electricity',
    )
    source: str = Field(
        default="", description="where the facts come from, when not from the profile's source"
    )
    verified: bool = Field(default=True, description="false: from memory, not checked against a source")

    @property
    def place(self) -> str:
        """Where a person finds it in the manual of the device."""
        return ""


class Addressing(NamedTuple):
    """How one device of a family is told from the others on its bus."""

    by: Literal["unit", "address", "id", "nothing"]
    pattern: str = ""  # of the whole address
    told: str = ""  # what it is, for people: "the 12 digits on its front"
    units: tuple[range, ...] = ()
    key: Literal["never", "allowed", "required"] = "never"


class Profile(Section):
    """One model of device. Each family has a subclass with what its driver must know."""

    buses: ClassVar[tuple[str, ...]] = ()
    """The kinds of bus that such a device can be on, as a gateway's configuration calls them."""

    addressing: ClassVar[Addressing] = Addressing("nothing")

    profile: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60, description="its name, as the file's"
    )
    extends: str | None = Field(
        default=None, description="a profile that this one takes everything from that it does not say itself"
    )
    version: str = Field(min_length=1, max_length=20, description='text, such as "1"')
    title: str = Field(min_length=1, description="what people call the device")
    family: str = Field(description="the driver that talks to it")
    verified: bool = Field(description="false: from memory, not checked against a source")
    source: str = Field(min_length=1, description="where the facts come from")
    points: tuple[Point, ...] = Field(default=(), description="what the device can tell")
    parameters: dict[Name, Ratio] = Field(
        default={}, description="defaults; a device's configuration may set them"
    )
    golden: tuple[Section, ...] = Field(default=(), description="frames with the values they carry")

    @property
    def unauthenticated(self) -> bool:
        """Whether its values come through the air without a proof of who sent them."""
        return False

    def point(self, name: str) -> Point:
        """The point of that name; KeyError when it has none."""
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)

    def settled_parameters(self, given: dict[str, float]) -> dict[str, float]:
        """The defaults of the profile, replaced by what a device's configuration gives."""
        return {**self.parameters, **given}
