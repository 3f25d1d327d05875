"""What a gateway tells the collector about its devices, as an event of the kind `DEVICE_DESCRIBED`.

It travels in the sequence like a reading, so it arrives exactly once, in order, and sealed.
"""

from typing import Literal

import msgspec

DEVICE_DESCRIBED = "device.described"

Kind = Literal["gauge", "counter", "state"]


class PointDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the collector must know of a point to draw it and to do sums with it."""

    name: str
    unit: str  # "kWh", "V", "m3"; "" for a state
    kind: Kind
    item_code: str | None = None  # energy item, 5 characters: "01000" electricity
    decimals: int = 3  # the resolution of its values
    modulus: float | None = None  # a counter starts again from 0 at this value, in `unit`
    max_rate_per_h: float | None = (
        None  # a counter that grows faster than this is SUSPECT, in `unit` per hour
    )


class DeviceDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One device as the gateway has it configured. Sent at each start and after each change."""

    device_id: str
    name: str  # for people, any language
    profile: str  # "eastron-sdm630"
    profile_version: str
    period_s: float  # how often a reading of each point is to be expected while all is well
    points: tuple[PointDescription, ...]
    unauthenticated: bool = False  # its values come through the air without a proof of who sent them
