"""Reads the payloads of a LoRaWAN parking sensor, as its profile says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from drivers.scaling import Scale
from models.errors import BadInput
from models.profile.parking_sensor import Channel, Fact, Frame, LoRaWan, Nearer, ParkingSensorProfile, Part
from models.reading import Quality, Reading, Reason

OCCUPIED = "occupied"

_THOUSANDTH = Fraction(1, 1000)  # what the network server says are floats: 88.3 % is 88 300 of these


class PayloadRefused(BadInput):
    """A payload that is none of the sensor's frames, or one that ends too early. `reason` is one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Payload:
    """What one payload holds, in raw numbers by point. None: the sentinel for "not available"."""

    raws: dict[str, int | None]
    event: str | None
    facts: dict[str, Any]
    unread: int = 0  # bytes from the first channel on that the profile does not know


def unpack(section: LoRaWan, port: int, data: bytes) -> Payload:
    """Raise PayloadRefused; a payload that breaks off gives nothing, for it may be another sensor's."""
    for frame in section.frames:
        if frame.fits(port, data):
            return _unpacked(frame, data)
    raise PayloadRefused("unknown-frame", f"{len(data)} bytes on fPort {port} are none of its frames")


def _unpacked(frame: Frame, data: bytes) -> Payload:
    raws: dict[str, int | None] = {}
    unread = 0
    if frame.channels:
        unread = _chain(frame.channels, data, raws)
    else:
        _take(frame.parts, data, raws)
    return Payload(raws, frame.event, {fact.name: _told(fact, data) for fact in frame.facts}, unread)


def _chain(channels: Sequence[Channel], data: bytes, raws: dict[str, int | None]) -> int:
    """Read element after element. What follows an unknown key cannot be told apart, and is left."""
    at = 0
    while at < len(data):
        channel = next((each for each in channels if data.startswith(each.key_bytes, at)), None)
        if channel is None:
            if at == 0:
                raise PayloadRefused(
                    "unknown-channel", f"begins with {data[:2].hex(' ')}, which it never does"
                )
            return len(data) - at
        start = at + len(channel.key_bytes)
        at = start + channel.size
        if at > len(data):
            raise PayloadRefused("truncated", f"ends inside its channel {channel.key}")
        _take(channel.parts, data[start:at], raws)
    return 0


def _take(parts: Sequence[Part], data: bytes, raws: dict[str, int | None]) -> None:
    for part in parts:
        if part.end > len(data):
            raise PayloadRefused("truncated", f"ends before its {part.point}")
        raws[part.point] = _raw(part, data)


def _raw(part: Part, data: bytes) -> int | None:
    number = int.from_bytes(data[part.offset : part.end], part.order)
    bits = 8 * part.size
    if part.mask is not None:
        shift = (part.mask & -part.mask).bit_length() - 1
        number = (number & part.mask) >> shift
        bits = part.mask.bit_length() - shift
    if number in part.sentinels:
        return None
    return number - (1 << bits) if part.signed and number >> (bits - 1) else number


def _told(fact: Fact, data: bytes) -> int | str:
    if fact.end > len(data):
        raise PayloadRefused("truncated", f"ends before its {fact.name}")
    told = data[fact.offset : fact.end]
    if fact.form == "dotted":
        return ".".join(map(str, told))
    return told.hex() if fact.form == "hex" else int.from_bytes(told, "big")


class SensorDecoder:
    """From the payloads of one device to its readings."""

    def __init__(
        self, profile: ParkingSensorProfile, parameters: Mapping[str, float], device_id: str
    ) -> None:
        self._points = profile.points
        self._faults = profile.lorawan.faults
        self._settled = profile.settled_parameters(dict(parameters))
        self._scales = {
            point.name: Scale(point, self._settled, device_id, _THOUSANDTH if point.network else Fraction(1))
            for point in profile.points
        }

    def readings(
        self, payload: Payload, was_occupied: bool | None, measured_ms: int, received_ms: int
    ) -> list[Reading]:
        """One for each point that the payload tells of, in the order of the profile.

        `was_occupied` is the last word on the bay, for sensors that only measure a distance.
        """
        when = (measured_ms, received_ms)
        found: dict[str, Reading] = {}
        for name, raw in payload.raws.items():
            scale = self._scales[name]
            found[name] = scale.bad(Reason.NOT_AVAILABLE, *when) if raw is None else scale.reading(raw, *when)
        for point in self._points:
            if point.nearer is not None and (distance := found.get(point.nearer.distance)) is not None:
                reading = self._worked_out(point.name, point.nearer, distance, was_occupied)
                if reading is not None:
                    found[point.name] = reading
        if any(payload.raws.get(name) for name in self._faults):
            found[OCCUPIED] = self._scales[OCCUPIED].bad(Reason.NOT_AVAILABLE, *when)
        return [found[point.name] for point in self._points if point.name in found]

    def from_network(self, told: Mapping[str, float], measured_ms: int, received_ms: int) -> list[Reading]:
        """Of what the network server says of the device: the points that want it."""
        return [
            self._scales[point.name].reading(round(1000 * told[point.network]), measured_ms, received_ms)
            for point in self._points
            if point.network is not None and point.network in told
        ]

    def silent(self, at_ms: int) -> list[Reading]:
        """The readings of a sensor that has not been heard for too long."""
        return [self._scales[OCCUPIED].bad(Reason.NO_REPLY, at_ms, at_ms)]

    def _worked_out(
        self, name: str, nearer: Nearer, distance: Reading, was_occupied: bool | None
    ) -> Reading | None:
        """None between the two bounds, when nobody knows how the bay was before."""
        when = (distance.measured_ms, distance.received_ms)
        floor, height, hysteresis = (
            self._settled[each] for each in (nearer.floor, nearer.height, nearer.hysteresis)
        )
        # What is not even the floor is no bay: a sensor that was turned away, or an echo that was lost.
        if distance.quality is not Quality.GOOD or distance.value is None or distance.value > floor + height:
            return self._scales[name].bad(Reason.NOT_AVAILABLE, *when)
        if distance.value < floor - height:
            return self._scales[name].reading(1, *when)
        if distance.value >= floor - height + hysteresis:
            return self._scales[name].reading(0, *when)
        return None if was_occupied is None else self._scales[name].reading(int(was_occupied), *when)
