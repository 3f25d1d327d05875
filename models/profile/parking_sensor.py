"""The profile of a LoRaWAN parking sensor: what its payloads hold, byte for byte.

A payload is one of several frames, told apart by the fPort and, where that is not enough, by bits of its
own. A frame has its parts at fixed places, or is a chain of channels: a key of some bytes, then its data.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Name, Number, Point, Profile, Ratio, Section

MOST_BYTES = 242  # the longest payload that LoRaWAN carries

Offset = Annotated[int, Field(ge=0, lt=MOST_BYTES)]
Port = Annotated[int, Field(ge=1, le=223)]
Hex = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2} ?)+$")]
Network = Literal["battery_pct", "margin_db", "signal_dbm", "snr_db"]


class Part(Section):
    """Some bits of a frame or channel, and the point whose raw number they are."""

    point: Name
    offset: Offset = Field(default=0, description="of the first byte")
    size: int = Field(default=1, ge=1, le=8, description="in bytes")
    order: Literal["big", "little"] = Field(default="big", description="which byte comes first")
    mask: int | None = Field(default=None, ge=1, description="these bits only, moved down to the lowest")
    signed: bool = Field(default=False, description="the highest bit says that it is below 0")
    sentinels: tuple[int, ...] = Field(default=(), description="raw numbers that mean: not available")

    @property
    def end(self) -> int:
        """Behind its last byte."""
        return self.offset + self.size


class Fact(Section):
    """Something of a frame that is no point, for the data of its event."""

    name: Name
    offset: Offset
    size: int = Field(default=1, ge=1, le=16)
    form: Literal["number", "dotted", "hex"] = Field(
        default="number", description="one number, or each byte with a dot between, or hex"
    )

    @property
    def end(self) -> int:
        """Behind its last byte."""
        return self.offset + self.size


class Selector(Section):
    """Bits of the payload that say which frame it is."""

    offset: Offset = 0
    mask: int = Field(default=0xFF, ge=1, le=0xFF)
    equals: int = Field(ge=0, le=0xFF, description="of the byte under the mask, where it stands")


class Channel(Section):
    """One kind of element in a chain."""

    key: Hex = Field(description="the bytes that it begins with, in hex")
    size: int = Field(ge=0, lt=MOST_BYTES, description="bytes of data behind the key")
    parts: tuple[Part, ...] = Field(default=(), description="in its data; none: it is passed over")

    @property
    def key_bytes(self) -> bytes:
        return bytes.fromhex(self.key)


class Frame(Section):
    """One kind of payload."""

    name: Name
    ports: tuple[Port, ...] = Field(default=(), description="fPorts that it comes on; none: any")
    selector: Selector | None = Field(default=None, description="what tells it from others on its fPort")
    min_bytes: int = Field(default=1, ge=1, le=MOST_BYTES)
    max_bytes: int = Field(default=MOST_BYTES, ge=1, le=MOST_BYTES)
    parts: tuple[Part, ...] = Field(default=(), description="what stands at fixed places")
    channels: tuple[Channel, ...] = Field(default=(), description="or: the elements it is a chain of")
    event: str | None = Field(
        default=None, pattern=r"^[a-z]+\.[a-z_]+$", description="what has happened when it comes"
    )
    facts: tuple[Fact, ...] = Field(default=(), description="what the event tells besides")

    def fits(self, port: int, data: bytes) -> bool:
        """Whether a payload is one of this kind."""
        if self.ports and port not in self.ports:
            return False
        if not self.min_bytes <= len(data) <= self.max_bytes:
            return False
        if self.selector is None:
            return True
        at = self.selector.offset
        return at < len(data) and data[at] & self.selector.mask == self.selector.equals

    def all_parts(self) -> Iterator[Part]:
        """Those of its channels as well."""
        yield from self.parts
        for channel in self.channels:
            yield from channel.parts


class Nearer(Section):
    """A bay under a sensor that measures a distance: occupied when something stands above its floor.

    `floor`, `height` and `hysteresis` name parameters in the unit of the distance. Occupied: nearer than
    floor - height; free: not nearer than floor - height + hysteresis; between the two it stays as it was.
    """

    distance: Name = Field(description="the point that has the distance")
    floor: Name = Field(description="parameter: the distance to the floor of the empty bay")
    height: Name = Field(description="parameter: what the lowest car is high")
    hysteresis: Name = Field(description="parameter: how much farther it must be to be free again")


class SensorPoint(Point):
    """One quantity of a parking sensor, out of its payloads, or from the network that carries them."""

    network: Network | None = Field(default=None, description="what the network server says of the device")
    nearer: Nearer | None = Field(default=None, description="worked out from a distance")


class LoRaWan(Section):
    """What all payloads of a sensor share."""

    frames: tuple[Frame, ...] = Field(min_length=1, description="the first that fits is taken")
    faults: tuple[Name, ...] = Field(
        default=(), description="points that say, when they are not 0, that the sensor cannot tell"
    )


class SensorGolden(Section):
    """A payload from the source, and what it says. `null`: not available."""

    port: Port
    payload: Hex
    values: dict[str, Number | None] = Field(min_length=1)
    parameters: dict[str, Ratio] = Field(default={}, description="of the device that sent it")
    source: str = Field(default="", description="where the payload comes from")


class ParkingSensorProfile(Profile):
    """One model of LoRaWAN parking sensor, in one bay.

    Parameters with a meaning of their own: `silent_periods`, after how many periods without a word the bay is
    unknown; `confirm_times` and `confirm_s`, see `models.parking.Debounce`.
    """

    buses: ClassVar = ("chirpstack",)
    addressing: ClassVar = Addressing(
        "address", pattern=r"[0-9a-fA-F]{16}", told="the DevEUI on its label, 16 hex digits"
    )

    family: Literal["parking_sensor"] = Field(description="the driver that talks to it")
    lorawan: LoRaWan = Field(description="what its payloads hold")
    points: tuple[SensorPoint, ...] = Field(min_length=1, description="what the device can tell")
    golden: tuple[SensorGolden, ...] = Field(default=(), description="payloads with the values they carry")
