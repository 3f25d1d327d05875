"""The profile of a zone controller on RS-485, which asks the ultrasonic detectors above its bays.

The makers' protocols are cousins: start byte, address, control, length, data, CRC-16. What differs is data.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Number, Point, Profile, Ratio, Section

Byte = Annotated[int, Field(ge=0, le=0xFF)]
Crc = Literal["modbus", "arc", "ccitt-false", "xmodem"]


class DetectorStates(Section):
    """How the data of a reply hold one number for each detector."""

    offset: int = Field(default=0, ge=0, le=255, description="of the first detector's byte in the data")
    bits: Literal[1, 2, 4, 8] = Field(description="of one detector")
    lowest_first: bool = Field(default=True, description="the first detector has the lowest bits of a byte")
    free: tuple[Byte, ...] = Field(min_length=1)
    occupied: tuple[Byte, ...] = Field(min_length=1)
    faulty: tuple[Byte, ...] = Field(
        default=(), description="the controller cannot tell: the detector is broken or silent"
    )

    def size(self, detectors: int) -> int:
        """How many bytes the data of that many detectors end behind."""
        return self.offset + (detectors * self.bits + 7) // 8


class ControllerSection(Section):
    """What a frame looks like. Control = function, with `reply_flag` and `error_flag` in answers."""

    start: Byte = Field(description="the byte that a frame begins with")
    function: int = Field(ge=0, le=0x3F, description="read the states of all bays")
    reply_flag: Byte = Field(default=0x80, description="set in a frame from a controller")
    error_flag: Byte = Field(default=0x40, description="set in one that says no")
    length_bytes: Literal[1, 2] = 2
    length_order: Literal["big", "little"] = "big"
    crc: Crc = "modbus"
    crc_order: Literal["big", "little"] = "little"
    crc_skips_start: bool = Field(default=False, description="the start byte is not in the sum")
    request_data: str = Field(default="", pattern=r"^([0-9a-fA-F]{2} ?)*$", description="in hex")
    states: DetectorStates
    reply_timeout_s: float = Field(default=0.5, ge=0.02, le=60, description="how long one reply may take")
    retries: int = Field(default=1, ge=0, le=5, description="how often a request without reply is sent again")


class DetectorPoint(Point):
    """Whether one bay is occupied."""

    detector: int = Field(ge=1, le=255, description="its number at the controller, from 1")

    @property
    def place(self) -> str:
        """See `Point`."""
        return f"detector {self.detector}"


class ControllerGolden(Section):
    """A request and its reply, whole frames in hex, and what they say. `null`: not available."""

    unit: int = Field(ge=1, le=254)
    request: str
    reply: str
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={})
    source: str = Field(default="", description="where the frames come from")


class ParkingControllerProfile(Profile):
    """One model of zone controller. Its parameters are those of `ParkingSensorProfile`."""

    buses: ClassVar = ("serial", "serial_server")
    addressing: ClassVar = Addressing(
        "unit", units=(range(1, 255),), told="1 to 254; 255 is for all of them at once"
    )

    family: Literal["parking_controller"] = Field(description="the driver that talks to it")
    controller: ControllerSection = Field(description="its protocol")
    points: tuple[DetectorPoint, ...] = Field(min_length=1, description="its bays")
    golden: tuple[ControllerGolden, ...] = Field(default=(), description="frames with the values they carry")
