"""The profile of a meter that speaks CJ/T 188: water, heat, gas."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Number, Point, Positive, Profile, Ratio, Section

DataType = Literal["bcd", "signed_bcd", "bits", "date_time"]
Identifier = Annotated[int, Field(ge=0, le=0xFFFF)]
Byte = Annotated[int, Field(ge=0, le=0xFF)]

DATE_TIME_LENGTH = 7
"""Second, minute, hour, day, month, year and century."""

UNITS = {
    "Wh": ("energy", 3600.0), "kWh": ("energy", 3.6e6), "MWh": ("energy", 3.6e9), "kJ": ("energy", 1e3),
    "MJ": ("energy", 1e6), "GJ": ("energy", 1e9), "W": ("power", 1.0), "kW": ("power", 1e3),
    "MW": ("power", 1e6), "L": ("volume", 1.0), "m3": ("volume", 1e3), "L/h": ("flow", 1.0),
    "m3/h": ("flow", 1e3),
}  # fmt: skip
"""What each unit measures, and how many of the smallest unit it is (J, W, L, L/h)."""


class UnitCode(Section):
    """What one unit byte means."""

    code: Byte
    unit: str = Field(description="Wh, kWh, MWh, kJ, MJ, GJ, W, kW, MW, L, m3, L/h or m3/h")
    times: Positive = Field(default=1.0, description="how many of this unit one count is: 10, 100")
    source: str = Field(min_length=1, description="where that is written")
    verified: bool = Field(description="false: from memory, not checked against a source")


class Read(Section):
    """One identifier that is read."""

    di: Identifier = Field(description="data identifier, as the standard writes it: 0x901F")
    length: int = Field(ge=1, le=200, description="bytes of its data, behind identifier and serial number")


class Cjt188Section(Section):
    """What all points of such a meter share."""

    edition: Literal["2004", "2018"] = Field(description="of the standard, for people")
    meter_type: Byte = Field(description="byte T: 0x10 cold water, 0x11 hot water, 0x20 heat, 0x30 gas, …")
    reads: tuple[Read, ...] = Field(min_length=1, description="what is asked for")
    di_order: Literal["low_first", "high_first"] = Field(
        default="low_first", description="which byte of an identifier comes first: 0x901F as 1F 90, or 90 1F"
    )
    serial_number: Byte | None = Field(
        default=None, description="for a meter that takes this one only; without it, requests are counted"
    )
    units: tuple[UnitCode, ...] = Field(default=(), description="the unit bytes that its values may carry")
    wake_bytes: int = Field(default=4, ge=0, le=16, description="how many bytes FE go before a request")
    reply_timeout_s: float = Field(default=1.5, ge=0.02, le=60, description="how long one reply may take")
    retries: int = Field(default=1, ge=0, le=5, description="how often a request without reply is sent again")
    utc_offset_h: float = Field(default=8.0, ge=-12, le=14, multiple_of=0.25, description="of its clock")


class Cjt188Point(Point):
    """One quantity, and the bytes of the data that hold it. A `date_time` is seconds since 1970 (UTC)."""

    di: Identifier = Field(default=0x901F, description="identifier of the read that carries it")
    at: int = Field(ge=0, le=199, description="first byte behind identifier and serial number")
    length: int = Field(ge=1, le=8, description="how many bytes it takes")
    type: DataType = Field(default="bcd", description="how the bytes hold the value, low byte first")
    unit_at: int | None = Field(
        default=None, ge=0, le=199, description="the byte that says in which unit the meter counts"
    )
    bit: int | None = Field(default=None, ge=0, le=63, description="lowest of its bits, for type bits")
    bits: int | None = Field(default=None, ge=1, le=8, description="how many bits it takes, for type bits")

    @property
    def place(self) -> str:
        """See `Point`."""
        if self.bit is None or self.bits is None:
            return f"{self.di:04X} byte {self.at} {self.type}"
        last = f" to {self.bit + self.bits - 1}" if self.bits > 1 else ""
        return f"{self.di:04X} byte {self.at} bit {self.bit}{last}"


class Golden(Section):
    """A request and its reply from the source, and what the reply says: the profile checks itself with it.

    Both are hex of whole frames, with or without FE before them. `null`: not available.
    """

    request: str
    reply: str
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={}, description="parameters of the device that sent it")
    source: str = Field(default="", description="where the frame comes from")


class Cjt188Profile(Profile):
    """One model of meter."""

    buses: ClassVar = ("serial", "serial_server")
    addressing: ClassVar = Addressing(
        "address",
        pattern=r"[0-9A-Fa-f]{14}",
        told="14 digits: the maker's code and the number on its front; 14 times A when it is alone",
    )

    family: Literal["cjt188"] = Field(description="the driver that talks to it")
    cjt188: Cjt188Section = Field(description="what the points share")
    points: tuple[Cjt188Point, ...] = Field(min_length=1, description="what the meter can tell")
    golden: tuple[Golden, ...] = Field(default=(), description="frames with the values they carry")
