"""What goes between radio, formats and devices: advertisements, decoded frames, and why one is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from models.errors import BadInput


class Advert(NamedTuple):
    """What was received of one device in one go."""

    address: str  # upper case, with colons
    services: Mapping[int, bytes]  # service data by its 16-bit UUID
    makers: Mapping[int, bytes]  # manufacturer data by the company's number
    rssi: int  # dBm

    @property
    def address_bytes(self) -> bytes:
        """The address in the order in which it is written."""
        return bytes.fromhex(self.address.replace(":", ""))


class Refusal(StrEnum):
    """Why a frame was not taken."""

    DOWNGRADE = "downgrade"  # no proof of its sender, where the device has a key for one
    WRONG_KEY = "wrong-key"  # the key does not fit
    NO_KEY = "no-key"  # encrypted, and no key is configured
    REPLAYED = "replayed"  # proven, but sent before
    MALFORMED = "malformed"  # not a frame of its format
    FOREIGN = "foreign"  # of a device that is not configured
    OVERFLOW = "overflow"  # came faster than it could be stored


class FrameRefused(BadInput):
    """A frame that must not become a reading. The message never shows a key."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal, self.detail = refusal, detail


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame."""

    values: Mapping[str, int | None]  # by field, counted in the field's unit; None: not available
    identity: bytes  # the same for the same frame and for no other
    counter: int | None = None  # given exactly when it is proven who sent the frame
    is_numbered: bool = True  # two measurements never give the same frame, not even of the same values
