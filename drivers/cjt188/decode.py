"""Turns the data of one reply into readings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from drivers import bcd
from drivers.scaling import Scale
from models.profile.cjt188 import UNITS, Cjt188Point, Cjt188Section
from models.reading import Reading, Reason

_ToNumber = Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True)
class _Item:
    index: int  # in the profile
    at: int
    length: int
    to_number: _ToNumber
    has_sentinel: bool  # all bits set mean: not available
    scale: Scale  # for a value that comes without a unit, and for readings without a value
    unit_at: int | None
    scales: Mapping[int, Scale]  # by the byte that says the unit


class DataDecoder:
    """The decoder of the replies to one identifier."""

    def __init__(
        self,
        points: Sequence[Cjt188Point],
        di: int,
        section: Cjt188Section,
        parameters: Mapping[str, float],
        device_id: str,
    ) -> None:
        [self._length] = [read.length for read in section.reads if read.di == di]
        self._items = [
            _Item(
                index,
                point.at,
                point.length,
                _reader(point, section.utc_offset_h),
                point.type != "bits",
                Scale(point, parameters, device_id),
                point.unit_at,
                _scales(point, section, parameters, device_id),
            )
            for index, point in enumerate(points)
            if point.di == di
        ]

    def decode(self, data: bytes, measured_ms: int, received_ms: int, into: list[Reading | None]) -> None:
        """Put the reading of each point in its place of the profile; `data` stands behind the serial number.

        Data of another length are those of another format, of which nothing is known.
        """
        is_known = len(data) == self._length
        for item in self._items:
            if is_known:
                into[item.index] = self._reading(item, data, measured_ms, received_ms)
            else:
                into[item.index] = item.scale.bad(Reason.UNDECODABLE, measured_ms, received_ms)

    def fail(self, reason: Reason, measured_ms: int, received_ms: int, into: list[Reading | None]) -> None:
        """Put a reading without a value in the place of each point."""
        for item in self._items:
            into[item.index] = item.scale.bad(reason, measured_ms, received_ms)

    def _reading(self, item: _Item, data: bytes, measured_ms: int, received_ms: int) -> Reading:
        piece = data[item.at : item.at + item.length]
        if item.has_sentinel and piece == b"\xff" * item.length:
            return item.scale.bad(Reason.NOT_AVAILABLE, measured_ms, received_ms)
        number = item.to_number(piece)
        scale = item.scale if item.unit_at is None else item.scales.get(data[item.unit_at])
        if number is None or scale is None:  # a number in an unknown unit is none
            return item.scale.bad(Reason.UNDECODABLE, measured_ms, received_ms)
        return scale.reading(number, measured_ms, received_ms)


def _reader(point: Cjt188Point, utc_offset_h: float) -> _ToNumber:
    match point.type:
        case "bcd":
            return bcd.number
        case "signed_bcd":
            return bcd.signed_number
        case "date_time":
            return lambda data: _date_time(data, utc_offset_h)
        case "bits":
            bit, mask = point.bit or 0, (1 << (point.bits or 1)) - 1
            return lambda data: int.from_bytes(data, "little") >> bit & mask


def _date_time(data: bytes, utc_offset_h: float) -> int | None:
    """Seconds since 1970 of CCYYMMDDhhmmss."""
    fields = bcd.pairs(data)
    if fields is None:
        return None
    second, minute, hour, day, month, year, century = fields
    return bcd.calendar_seconds((second, minute, hour, day, month, 100 * century + year), utc_offset_h)


def _scales(
    point: Cjt188Point, section: Cjt188Section, parameters: Mapping[str, float], device_id: str
) -> dict[int, Scale]:
    """How a value becomes one in the unit of its point, by the code of the unit that the meter counts in."""
    if point.unit_at is None:
        return {}
    kind, own = UNITS[point.unit]
    return {
        code.code: Scale(
            point,
            parameters,
            device_id,
            Fraction(str(UNITS[code.unit][1])) * Fraction(str(code.times)) / Fraction(str(own)),
        )
        for code in section.units
        if UNITS[code.unit][0] == kind
    }
