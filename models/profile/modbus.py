"""The profile of a Modbus device: which registers hold what."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Number, Point, Profile, Ratio, Section

Table = Literal["coil", "discrete", "holding", "input"]
RegisterType = Literal[
    "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32",
    "bcd64",
]  # fmt: skip
WordOrder = Literal["high_first", "low_first"]
ByteOrder = Literal["big", "little"]
Address = Annotated[int, Field(ge=0, le=0xFFFF)]


class Forbidden(Section):
    """Addresses that no request may touch, both ends included."""

    table: Table
    first: Address
    last: Address


class ModbusSection(Section):
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
    write_functions: tuple[Literal[5, 6, 15, 16], ...] = Field(
        default=(5, 6, 15, 16), description="function codes by which writable points can be set"
    )


class Writable(Section):
    """What a person or the collector may set a point to, in its unit."""

    min: Number
    max: Number


class ModbusPoint(Point):
    """One quantity, and the registers or the bit that it stands in."""

    table: Table = Field(description="coil, discrete, holding or input")
    address: Address = Field(description="of the first register or bit, counted from 0 as on the wire")
    type: RegisterType = Field(description="how the registers hold the value")
    bit: int | None = Field(default=None, ge=0, le=15, description="the bit of a register; 0 is the lowest")
    word_order: WordOrder | None = Field(default=None, description="where it differs from the device's")
    byte_order: ByteOrder | None = Field(default=None, description="where it differs from the device's")
    sentinels: tuple[int | float | Literal["nan"], ...] = Field(
        default=(), description="raw values that mean: not available"
    )
    shares_registers: bool = Field(
        default=False, description="lies on purpose over registers of another point"
    )
    writable: Writable | None = Field(
        default=None, description="the range that it may be set to; without it, it is only read"
    )

    @property
    def place(self) -> str:
        """See `Point`."""
        bit = f" bit {self.bit}" if self.bit is not None else ""
        return f"{self.table} {self.address:#06x} {self.type}{bit}"

    @property
    def width(self) -> int:
        """How many registers it takes, or bits in the tables of bits."""
        return {"int32": 2, "uint32": 2, "float32": 2, "bcd32": 2, "int64": 4, "uint64": 4, "float64": 4,
                "bcd64": 4}.get(self.type, 1)  # fmt: skip

    @property
    def is_bit_table(self) -> bool:
        """Whether it is a coil or a discrete input."""
        return self.table in ("coil", "discrete")


class Golden(Section):
    """A request and its reply from the source, and what the reply says: the profile checks itself with it.

    Both are hex, either whole Modbus TCP frames or from the function code on. `null`: not available.
    """

    request: str
    reply: str
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={}, description="parameters of the device that sent it")
    source: str = Field(default="", description="where the frame comes from")


class Fingerprint(Section):
    """One read that tells this model from others, for the search of a bus."""

    table: Table
    address: Address
    count: int = Field(ge=1, le=125)
    equals: str = Field(default="", description="hex of the whole reply data, where that is known")
    point: str = Field(default="", description="or a point within it that must be between its min and max")


class Identification(Section):
    """What the device says of itself (function 43, type 14); parts of the texts, in upper or lower case."""

    vendor: str = Field(default="", max_length=60)
    product: str = Field(default="", max_length=60)


class ModbusProfile(Profile):
    """One model of Modbus device."""

    buses: ClassVar = ("modbus_tcp", "serial", "serial_server")
    addressing: ClassVar = Addressing(
        "unit",
        units=(range(1, 248), range(255, 256)),
        told="1 to 247; 255 for a TCP device without a unit id",
    )

    family: Literal["modbus"] = Field(description="the driver that talks to it")
    modbus: ModbusSection = Field(description="what the points share")
    points: tuple[ModbusPoint, ...] = Field(min_length=1, description="what the device can tell")
    fingerprints: tuple[Fingerprint, ...] = Field(
        default=(), description="reads that must all fit for a device to be taken for this model"
    )
    identifications: tuple[Identification, ...] = Field(
        default=(), description="how the device may call itself; one of them is enough"
    )
    golden: tuple[Golden, ...] = Field(default=(), description="frames with the values they carry")
