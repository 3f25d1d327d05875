"""The profile of an electricity meter that speaks DL/T 645: which data identifier holds what."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Name, Number, Point, Profile, Ratio, Section

Edition = Literal["1997", "2007"]
DataType = Literal["bcd", "signed_bcd", "bit", "date", "time", "date_time"]
Identifier = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]

CALENDAR_LENGTHS = {"date": (3, 4), "time": (3,), "date_time": (5, 6, 7)}
"""Bytes of the types that tell the time: with or without the day of the week, and without seconds."""


class Block(Section):
    """An identifier whose reply carries the data of several points, one behind the other."""

    di: Identifier = Field(description="identifier of the block, as 0x0201FF00")
    points: tuple[Name, ...] = Field(
        min_length=2, description="whose data it carries, in the order of the wire"
    )


class ClockSection(Section):
    """Where a meter keeps its time, and when it lets a broadcast set it."""

    date: Identifier = Field(description="identifier of YYMMDDWW")
    time: Identifier = Field(description="identifier of hhmmss")
    max_off_s: float = Field(gt=0, le=86_400, description="it ignores a time further from its own")
    midnight_s: float = Field(ge=0, le=43_200, description="it ignores a time so near to midnight")
    once_in_h: float = Field(ge=0, le=720, description="it takes one time only in so many hours")
    source: str = Field(min_length=1, description="where these limits come from")
    verified: bool = Field(description="false: from memory, not checked against a source")


class Dlt645Section(Section):
    """What all points of such a meter share."""

    edition: Edition = Field(description="of the standard: 4 bytes of identifier since 2007, 2 before")
    wake_bytes: int = Field(default=4, ge=0, le=16, description="how many bytes FE go before a request")
    reply_timeout_s: float = Field(default=1.5, ge=0.02, le=60, description="how long one reply may take")
    retries: int = Field(default=1, ge=0, le=5, description="how often a request without reply is sent again")
    blocks: tuple[Block, ...] = Field(default=(), description="reads that fetch several points at once")
    utc_offset_h: float = Field(default=8.0, ge=-12, le=14, multiple_of=0.25, description="of its clock")
    clock: ClockSection | None = Field(default=None, description="without it, its time cannot be set")


class Dlt645Point(Point):
    """One quantity, and the bytes of an identifier's data that hold it.

    A `date` is days since 1970, a `time` seconds since midnight, both on the meter's own calendar; a
    `date_time` is seconds since 1970 (UTC).
    """

    di: Identifier = Field(description="data identifier, as the standard writes it: 0x02010100")
    type: DataType = Field(default="bcd", description="how the bytes hold the value, low byte first")
    length: int = Field(ge=1, le=8, description="how many bytes it takes")
    at: int = Field(default=0, ge=0, le=250, description="first byte within the data of the identifier")
    bit: int | None = Field(default=None, ge=0, le=63, description="the bit, for type bit; 0 is the lowest")

    @property
    def place(self) -> str:
        """See `Point`."""
        within = f" byte {self.at}" if self.at else ""
        bit = f" bit {self.bit}" if self.bit is not None else ""
        di = f"{self.di:08X}" if self.di > 0xFFFF else f"{self.di:04X}"
        return f"{di} {self.type}{within}{bit}"


class Golden(Section):
    """A request and its reply from the source, and what the reply says: the profile checks itself with it.

    Both are hex of whole frames, with or without FE before them. `null`: not available.
    """

    request: str
    reply: str
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={}, description="parameters of the device that sent it")
    source: str = Field(default="", description="where the frame comes from")


class Dlt645Profile(Profile):
    """One model of meter."""

    buses: ClassVar = ("serial", "serial_server")
    addressing: ClassVar = Addressing(
        "address",
        pattern=r"(?=.{12}\Z)(?!9{12})(?:[Aa]{2})*(?:[0-9]{2})*",
        told="the 12 digits on its front; AA for pairs that you cannot read, from the left",
    )

    family: Literal["dlt645"] = Field(description="the driver that talks to it")
    dlt645: Dlt645Section = Field(description="what the points share")
    points: tuple[Dlt645Point, ...] = Field(min_length=1, description="what the meter can tell")
    golden: tuple[Golden, ...] = Field(default=(), description="frames with the values they carry")
