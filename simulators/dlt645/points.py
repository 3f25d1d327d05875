"""One point of a DL/T 645 meter: the bytes that it stands in, and the value that a reader sees."""

from fractions import Fraction

from models.profile import multiplier
from models.profile.dlt645 import Dlt645Point, Dlt645Section
from simulators.digits import calendar, packed, pair, unpacked
from simulators.electric import Sample
from simulators.modbus.encode import shown
from simulators.quantities import ClockFace, Quantity
from simulators.raw import NO_SHIFT, RawPoint, Shift

_CLOCKS = ("date", "time", "date_time")
_DAY_S = 86_400


class MeterPoint(RawPoint):
    """Knows the bytes of its point at any moment, and the value that they mean."""

    def __init__(
        self, point: Dlt645Point, section: Dlt645Section, parameters: dict[str, float], quantity: Quantity
    ) -> None:
        is_number = point.type in ("bcd", "signed_bcd")
        self._ratio = multiplier(point, parameters)
        super().__init__(
            point,
            quantity if point.type not in _CLOCKS else ClockFace(),
            per_raw=Fraction(str(point.scale)),
            ratio=self._ratio,
            holds=10 ** (2 * point.length) if is_number else None,
        )
        self.point = point
        self._utc_offset_h = section.utc_offset_h

    def content(self, sample: Sample, shift: Shift = NO_SHIFT) -> bytes:
        """Its bytes as they go over the wire, without the offset."""
        raw = round(self.number(sample, shift))
        point = self.point
        if point.type in ("bcd", "signed_bcd"):
            return packed(raw, point.length, signed=point.type == "signed_bcd")
        if point.type == "bit":
            return (bool(raw) << (point.bit or 0)).to_bytes(point.length, "little")
        now = calendar(raw, self._utc_offset_h)
        time = [pair(now.second), pair(now.minute), pair(now.hour)]
        date = [pair(now.day), pair(now.month), pair(now.year % 100)]
        weekday = [pair(now.isoweekday() % 7)]
        if point.type == "time":
            return bytes(time)
        if point.type == "date":
            return bytes(weekday + date if point.length == 4 else date)
        return bytes({5: time[1:] + date, 6: time + date, 7: time + weekday + date}[point.length])

    def value(self, sample: Sample, shift: Shift = NO_SHIFT) -> float | None:
        """What an ideal reader makes of these bytes; None when they mean: not available."""
        content = self.content(sample, shift)
        point = self.point
        if point.type == "bit":
            return float(int.from_bytes(content, "little") >> (point.bit or 0) & 1)
        if all(byte == 0xFF for byte in content):
            return None
        if point.type in ("bcd", "signed_bcd"):
            raw = unpacked(content, signed=point.type == "signed_bcd")
            return shown(
                raw, scale=point.scale, ratio=self._ratio, offset=point.offset, decimals=point.decimals
            )
        return float(self._clock(round(self.number(sample, shift))))

    def _clock(self, seconds: int) -> int:
        """The number that stands for what the clock shows, as the profile defines it."""
        local = seconds + round(self._utc_offset_h * 3600)
        if self.point.type == "time":
            return local % _DAY_S
        if self.point.type == "date":
            return local // _DAY_S
        return seconds - (local % 60 if self.point.length == 5 else 0)
