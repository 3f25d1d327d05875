"""One point of a Modbus meter: from what there is to what its registers hold and a reader sees."""

import struct
from collections.abc import Callable
from fractions import Fraction

from models.profile import multiplier
from models.profile.modbus import ModbusPoint, ModbusProfile
from simulators.electric import Sample
from simulators.modbus.encode import fits, limits, number, registers, shown
from simulators.quantities import Quantity
from simulators.raw import NO_SHIFT, RawPoint, Shift


class MeterPoint(RawPoint):
    """Knows the raw number of its point at any moment, its registers, and the value that they mean."""

    def __init__(
        self, point: ModbusPoint, profile: ModbusProfile, parameters: dict[str, float], quantity: Quantity
    ) -> None:
        scale = Fraction(str(point.scale))
        is_float = point.type.startswith("float")
        super().__init__(
            point,
            quantity,
            per_raw=scale,
            ratio=multiplier(point, parameters),
            # One count, or for floats what is one in the last decimal of the value.
            step=Fraction(1, 10**point.decimals) / abs(scale) if is_float else Fraction(1),
            holds=None if is_float else limits(point.type)[1] + 1,
        )
        self.point, self.width = point, point.width
        self._ratio = multiplier(point, parameters)
        self._plain = point.scale == 1 and self._ratio == 1 and point.offset == 0
        self._word_order = point.word_order or profile.modbus.word_order
        self._byte_order = point.byte_order or profile.modbus.byte_order
        self._sentinels = frozenset(n for n in point.sentinels if n != "nan")
        self._fast = _FAST.get((point.type, self._word_order, self._byte_order))

    def raw(self, sample: Sample, shift: Shift = NO_SHIFT) -> float:
        """The number in its registers."""
        return fits(self.number(sample, shift), self.point.type)

    def store(self, raw: float, into: bytearray, at: int) -> None:
        """Put the registers of a raw number at byte `at`; those outside of the buffer are left out."""
        if self.point.bit is not None:
            if raw:
                into[at + (self.point.bit < 8)] |= 1 << self.point.bit % 8
            return
        if self._fast is not None and 0 <= at <= len(into) - 2 * self.width:
            self._fast(into, at, raw)
            return
        content = registers(raw, self.point.type, word_order=self._word_order, byte_order=self._byte_order)
        begin, end = max(0, -at), min(len(content), len(into) - at)
        into[at + begin : at + end] = content[begin:end]

    def found(self, content: bytes | bytearray, at: int) -> float:
        """The raw number in registers that another point has filled."""
        if self.point.bit is not None:
            return content[at + (self.point.bit < 8)] >> self.point.bit % 8 & 1
        piece = bytes(content[at : at + 2 * self.width])
        return number(piece, self.point.type, word_order=self._word_order, byte_order=self._byte_order)

    def value(self, raw: float) -> float | None:
        """What an ideal reader makes of a raw number; None when it means: not available."""
        if raw in self._sentinels or raw != raw:
            return None
        point = self.point
        if self._plain:
            return round(float(raw), point.decimals)
        return shown(raw, scale=point.scale, ratio=self._ratio, offset=point.offset, decimals=point.decimals)


def _packer(form: str) -> Callable[[bytearray, int, float], None]:
    packer = struct.Struct(form)
    return lambda into, at, raw: packer.pack_into(into, at, raw)


_FAST = {
    (kind, "high_first", "big"): _packer(form)
    for kind, form in (
        ("float32", ">f"),
        ("uint16", ">H"),
        ("int16", ">h"),
        ("uint32", ">I"),
        ("int32", ">i"),
        ("int64", ">q"),
        ("uint64", ">Q"),
    )
}
"""The usual layouts, for a meter that answers hundreds of times a second."""
