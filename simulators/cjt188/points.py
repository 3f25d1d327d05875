"""One point of a CJ/T 188 meter: the bytes that it stands in, and the value that a reader sees."""

from fractions import Fraction

from models.profile import multiplier
from models.profile.cjt188 import UNITS, Cjt188Point, Cjt188Section, UnitCode
from simulators.digits import calendar, packed, pair, unpacked
from simulators.electric import Sample
from simulators.quantities import ClockFace, Quantity
from simulators.raw import NO_SHIFT, RawPoint, Shift


class MeterPoint(RawPoint):
    """Knows the bytes of its point at any moment, and the value that they mean."""

    def __init__(
        self,
        point: Cjt188Point,
        section: Cjt188Section,
        parameters: dict[str, float],
        quantity: Quantity,
        unit: UnitCode | None,
    ) -> None:
        """`unit`: in which unit the meter counts; None for a point without a unit byte."""
        self.unit = unit
        self._ratio = multiplier(point, parameters)
        per_raw = Fraction(str(point.scale))
        if unit is not None:
            sizes = [Fraction(str(UNITS[name][1])) for name in (unit.unit, point.unit)]
            per_raw *= Fraction(str(unit.times)) * sizes[0] / sizes[1]
        is_number = point.type in ("bcd", "signed_bcd")
        super().__init__(
            point,
            ClockFace() if point.type == "date_time" else quantity,
            per_raw=per_raw,
            ratio=self._ratio,
            holds=10 ** (2 * point.length) if is_number else None,
        )
        self.point = point
        self._per_unit = per_raw * Fraction(str(self._ratio))
        self._utc_offset_h = section.utc_offset_h

    def content(self, sample: Sample, shift: Shift = NO_SHIFT) -> bytes:
        """Its bytes as they go over the wire."""
        raw = round(self.number(sample, shift))
        point = self.point
        if point.type in ("bcd", "signed_bcd"):
            return packed(raw, point.length, signed=point.type == "signed_bcd")
        if point.type == "bits":
            shown = raw & (1 << (point.bits or 1)) - 1
            return (shown << (point.bit or 0)).to_bytes(point.length, "little")
        now = calendar(raw, self._utc_offset_h)
        century, year = divmod(now.year, 100)
        return bytes(map(pair, (now.second, now.minute, now.hour, now.day, now.month, year, century)))

    def value(self, sample: Sample, shift: Shift = NO_SHIFT) -> float | None:
        """What an ideal reader makes of these bytes; None when they mean: not available."""
        content = self.content(sample, shift)
        point = self.point
        if point.type == "bits":
            return float(int.from_bytes(content, "little") >> (point.bit or 0) & (1 << (point.bits or 1)) - 1)
        if point.type == "date_time":
            return float(round(self.number(sample, shift)))
        if all(byte == 0xFF for byte in content):
            return None
        raw = unpacked(content, signed=point.type == "signed_bcd")
        return float(round(raw * self._per_unit + Fraction(str(point.offset)), point.decimals))
