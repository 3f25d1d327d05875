"""Turns the data of one identifier, or of a block of them, into readings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from drivers import bcd
from drivers.scaling import Scale
from models.profile.dlt645 import Dlt645Point, Dlt645Section
from models.reading import Reading, Reason

BLOCK_END = 0xAA  # what meters of 1997 put behind the data of a block

_ToNumber = Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True)
class _Item:
    index: int  # in the profile
    at: int
    length: int
    to_number: _ToNumber
    has_sentinel: bool  # all bits set mean: not available
    scale: Scale


class DataDecoder:
    """The decoder of one reply: which points stand where in its data."""

    def __init__(
        self,
        points: Sequence[Dlt645Point],
        chosen: Sequence[int],
        section: Dlt645Section,
        parameters: Mapping[str, float],
        device_id: str,
        *,
        is_block: bool,
    ) -> None:
        """`chosen` are indexes into `points`; in a block their data stand one behind the other."""
        self.chosen = tuple(chosen)
        self._is_block = is_block
        self._items: list[_Item] = []
        end = 0
        for index in chosen:
            point = points[index]
            at = end if is_block else point.at
            end = max(end, at + point.length)
            to_number = _reader(point, section.utc_offset_h)
            scale = Scale(point, parameters, device_id)
            has_sentinel = point.type != "bit"
            self._items.append(_Item(index, at, point.length, to_number, has_sentinel, scale))
        self._length = end

    def fits(self, data: bytes) -> bool:
        """Whether the data have the length of all points. A block may go on: with more tariffs, say."""
        more = len(data) - self._length
        if more == 0 or not self._is_block:
            return more == 0
        if data[-1:] == bytes((BLOCK_END,)) and more == 1:
            return True
        return more > 0 and more % self._items[-1].length == 0

    def decode(self, data: bytes, measured_ms: int, received_ms: int, into: list[Reading | None]) -> None:
        """Put the reading of each point in its place of the profile. `data` stands behind the identifier.

        Data of another length are those of another format, of which nothing is known.
        """
        is_known = self.fits(data)
        for item in self._items:
            into[item.index] = self._reading(item, data if is_known else b"", measured_ms, received_ms)

    def fail(self, reason: Reason, measured_ms: int, received_ms: int, into: list[Reading | None]) -> None:
        """Put a reading without a value in the place of each point."""
        for item in self._items:
            into[item.index] = item.scale.bad(reason, measured_ms, received_ms)

    def _reading(self, item: _Item, data: bytes, measured_ms: int, received_ms: int) -> Reading:
        piece = data[item.at : item.at + item.length]
        if item.has_sentinel and piece == b"\xff" * item.length:
            return item.scale.bad(Reason.NOT_AVAILABLE, measured_ms, received_ms)
        number = item.to_number(piece) if piece else None
        if number is None:
            return item.scale.bad(Reason.UNDECODABLE, measured_ms, received_ms)
        return item.scale.reading(number, measured_ms, received_ms)


def _reader(point: Dlt645Point, utc_offset_h: float) -> _ToNumber:
    match point.type:
        case "bcd":
            return bcd.number
        case "signed_bcd":
            return bcd.signed_number
        case "date":
            return _date
        case "time":
            return _time
        case "date_time":
            return lambda data: _date_time(data, utc_offset_h)
        case "bit":
            bit = point.bit or 0
            return lambda data: int.from_bytes(data, "little") >> bit & 1


def _date(data: bytes) -> int | None:
    """Days since 1970 of YYMMDD or YYMMDDWW; the last is the day of the week, which tells nothing new."""
    fields = bcd.pairs(data[-3:])
    if fields is None:
        return None
    day, month, year = fields
    return bcd.day_number(2000 + year, month, day)


def _time(data: bytes) -> int | None:
    """Seconds since midnight of hhmmss."""
    fields = bcd.pairs(data)
    if fields is None:
        return None
    second, minute, hour = fields
    return bcd.seconds_of_day(hour, minute, second)


def _date_time(data: bytes, utc_offset_h: float) -> int | None:
    """Seconds since 1970 of YYMMDDhhmm, YYMMDDhhmmss or YYMMDDWWhhmmss."""
    fields = bcd.pairs(data)
    if fields is None:
        return None
    if len(fields) == 5:
        fields.insert(0, 0)
    second, minute, hour = fields[:3]
    day, month, year = fields[-3:]
    return bcd.calendar_seconds((second, minute, hour, day, month, 2000 + year), utc_offset_h)
