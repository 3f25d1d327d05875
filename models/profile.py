"""A profile: what one model of device has to say, and where; the data that a driver works from."""

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.document import Mistake, load_document
from models.inventory import DeviceDescription, PointDescription
from models.profile_checks import find_mistakes

Table = Literal["coil", "discrete", "holding", "input"]
RegisterType = Literal[
    "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32",
    "bcd64",
]  # fmt: skip
WordOrder = Literal["high_first", "low_first"]
ByteOrder = Literal["big", "little"]

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
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Forbidden(_Section):
    """Addresses that no request may touch, both ends included."""

    table: Table
    first: Address
    last: Address


class ModbusSection(_Section):
    """What all points of a Modbus device share."""

    max_registers: int = Field(
        default=125, ge=1, le=125, description="registers in one request; the standard: 125"
    )
    max_bits: int = Field(default=2000, ge=1, le=2000, description="coils in one request; the standard: 2000")
    max_gap: int = Field(
        default=0,
        ge=0,
        le=124,
        description="how many unneeded registers or bits a joined request may read along",
    )
    forbidden: tuple[Forbidden, ...] = Field(default=(), description="addresses that no request may touch")
    reply_timeout_s: float = Field(default=1.0, ge=0.02, le=60, description="how long one reply may take")
    retries: int = Field(default=1, ge=0, le=5, description="how often a request without reply is sent again")
    word_order: WordOrder = Field(
        default="high_first", description="which register of a long value comes first"
    )
    byte_order: ByteOrder = Field(default="big", description="order of the two bytes inside a register")


class ProfilePoint(_Section):
    """One quantity: where it stands, how its value is made, what it means.

    value = raw x scale x the parameters of `multiply_by` + offset, rounded once, to `decimals`.
    `min`, `max`, `modulus` and `max_rate_per_h` hold for parameters of 1 and grow with them.
    """

    name: Name = Field(description="lower case with the unit at its end: voltage_l1_v")
    title: str = Field(default="", description="for people, where the name is not enough")
    unit: str = Field(max_length=12, description='"kWh", "V"; "1" for a plain number, "" for a state')
    kind: Literal["gauge", "counter", "state"] = Field(description="gauge, counter or state")
    table: Table = Field(description="coil, discrete, holding or input")
    address: Address = Field(description="of the first register or bit, counted from 0 as on the wire")
    type: RegisterType = Field(description="how the registers hold the value")
    bit: int | None = Field(default=None, ge=0, le=15, description="the bit of a register; 0 is the lowest")
    word_order: WordOrder | None = Field(default=None, description="where it differs from the device's")
    byte_order: ByteOrder | None = Field(default=None, description="where it differs from the device's")
    scale: Number = Field(default=1.0, description="unit per count; not 0")
    offset: Number = Field(default=0.0, description="added at the end, in `unit`")
    multiply_by: tuple[str, ...] = Field(
        default=(), description="names of parameters, such as transformer ratios"
    )
    decimals: int = Field(default=3, ge=0, le=9, description="the resolution of the value")
    sentinels: tuple[int | float | Literal["nan"], ...] = Field(
        default=(), description="raw values that mean: not available"
    )
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
    shares_registers: bool = Field(
        default=False, description="lies on purpose over registers of another point"
    )
    source: str = Field(
        default="", description="where the address comes from, when not from the profile's source"
    )
    verified: bool = Field(default=True, description="false: from memory, not checked against a source")

    @property
    def width(self) -> int:
        """How many registers it takes, or bits in the tables of bits."""
        return {"int32": 2, "uint32": 2, "float32": 2, "bcd32": 2, "int64": 4, "uint64": 4, "float64": 4,
                "bcd64": 4}.get(self.type, 1)  # fmt: skip

    @property
    def is_bit_table(self) -> bool:
        """Whether it is a coil or a discrete input."""
        return self.table in ("coil", "discrete")


class Golden(_Section):
    """A request and its reply from the source, and what the reply says: the profile checks itself with it.

    Both are hex, either whole Modbus TCP frames or from the function code on. `null`: not available.
    """

    request: str
    reply: str
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={}, description="parameters of the device that sent it")
    source: str = Field(default="", description="where the frame comes from")


class Profile(_Section):
    """One model of device."""

    profile: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60, description="its name, as the file's"
    )
    version: str = Field(min_length=1, max_length=20, description='text, such as "1"')
    title: str = Field(min_length=1, description="what people call the device")
    family: Literal["modbus"] = Field(description="the driver that talks to it")
    verified: bool = Field(description="false: from memory, not checked against a source")
    source: str = Field(min_length=1, description="where the map comes from")
    modbus: ModbusSection = Field(description="what the points share")
    points: tuple[ProfilePoint, ...] = Field(min_length=1, description="what the device can tell")
    parameters: dict[Name, Ratio] = Field(
        default={}, description="defaults; a device's configuration may set them"
    )
    golden: tuple[Golden, ...] = Field(default=(), description="frames with the values they carry")

    def point(self, name: str) -> ProfilePoint:
        """The point of that name; KeyError when it has none."""
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)

    def settled_parameters(self, given: dict[str, float]) -> dict[str, float]:
        """The defaults of the profile, replaced by what a device's configuration gives."""
        return {**self.parameters, **given}


def load_profile(text: str | bytes, name: str) -> Profile:
    """Read a profile, checked as a whole. `name` is what messages call the file.

    Raises models.document.DocumentMistakes.
    """
    return load_document(text, Profile, file=name, check=find_mistakes)


def profile_json_schema() -> dict[str, Any]:
    """The JSON Schema of a profile file, for editors."""
    schema = Profile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def parameter_mistakes(profile: Profile, given: dict[str, float]) -> list[Mistake]:
    """What is wrong with the parameters that a device's configuration gives; paths begin at `parameters`."""
    mistakes = []
    for name, value in given.items():
        have = ", ".join(profile.parameters) or "none"
        if name not in profile.parameters:
            what = f"profile {profile.profile} has no parameter '{name}'"
            mistakes.append(Mistake(("parameters", name), what, f"have: {have}"))
            continue
        try:
            _RATIO.validate_python(value, strict=True)
        except ValidationError:
            what = f"must be a number above 0, up to 1000000, with at most {MOST_DECIMALS} decimals"
            mistakes.append(Mistake(("parameters", name), what))
    return mistakes


_RATIO = TypeAdapter[float](Ratio)


def multiplier(point: ProfilePoint, parameters: dict[str, float]) -> float:
    """What the parameters multiply the values of a point by."""
    return math.prod(parameters[name] for name in point.multiply_by)


def describe(
    profile: Profile,
    *,
    device_id: str,
    name: str,
    period_s: float,
    parameters: dict[str, float] | None = None,
) -> DeviceDescription:
    """What the collector is told of a device that this profile describes.

    `parameters` are those of the device's configuration, without `parameter_mistakes`.
    """
    settled = profile.settled_parameters(parameters or {})
    return DeviceDescription(
        device_id=device_id,
        name=name,
        profile=profile.profile,
        profile_version=profile.version,
        period_s=period_s,
        points=tuple(_describe_point(point, multiplier(point, settled)) for point in profile.points),
    )


def _describe_point(point: ProfilePoint, factor: float) -> PointDescription:
    return PointDescription(
        name=point.name,
        unit=point.unit,
        kind=point.kind,
        item_code=point.item_code,
        decimals=point.decimals,
        modulus=point.modulus and point.modulus * factor,
        max_rate_per_h=point.max_rate_per_h and point.max_rate_per_h * factor,
    )
