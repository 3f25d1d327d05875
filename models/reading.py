"""A reading: one value of one point with its quality and both clocks; an event: something that happened."""

from enum import IntEnum
from typing import Any

import msgspec

GATEWAY = "@gateway"
"""The device id of events that concern the gateway itself; no configured device can have it."""


class Quality(IntEnum):
    """How far a reading may be trusted."""

    GOOD = 0
    SUSPECT = 1  # has a value that no sum may include before it is confirmed
    BAD = 2  # has no value


class Reason(IntEnum):
    """Why a reading is not GOOD. The numbers are part of the wire format and are never reused."""

    NONE = 0
    NO_REPLY = 1  # the device did not answer in time
    UNREACHABLE = 2  # its bus or connection is down
    REFUSED = 3  # the device answered with an exception
    BAD_REPLY = 4  # garbled, foreign or truncated answers only
    NOT_AVAILABLE = 5  # the device reports its sentinel for "no value"
    UNDECODABLE = 6  # the bytes are no number of the type, such as a BCD digit above 9
    OUT_OF_RANGE = 7  # outside what the profile says is possible; SUSPECT
    CLOCK_UNSET = 8  # the gateway's clock was not yet synchronised; SUSPECT


class Reading(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="r", gc=False):
    """One value of one point.

    A msgspec struct and not a dataclass because an edge agent makes thousands a second: it is
    far cheaper to create, and the buffer writes it without conversion.
    """

    device_id: str
    point: str  # the unit is in the name: "voltage_l1_v"
    value: float | None  # None exactly when quality is BAD
    quality: Quality = Quality.GOOD
    reason: Reason = Reason.NONE
    measured_ms: int  # middle of its own request, or the device's own clock; ms since 1970, UTC
    received_ms: int  # gateway clock when the reply was complete; ms since 1970, UTC


class Event(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="e"):
    """Something that happened, at a device or (`device_id` = `GATEWAY`) at the gateway itself."""

    device_id: str
    kind: str  # dotted: "device.described", "door.forced", "buffer.gap"
    data: dict[str, Any]  # plain JSON values
    measured_ms: int
    received_ms: int


Item = Reading | Event
"""What a batch carries. Each item has one sequence number: readings and events share the sequence."""
