"""One point of a Modbus meter: from what there is to what its registers hold and a reader sees."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from models.profile import multiplier
from models.profile.modbus import ModbusPoint, ModbusProfile
from simulators.electric import Sample
from simulators.modbus.encode import fits, limits, number, registers, shown
from simulators.quantities import Counter, Gauge, Quantity


@dataclass(frozen=True, slots=True)
class Shift:
    """What an anomaly does to a meter at one moment, beside freezing it or loading it."""

    restart: tuple[Sample, float] | None = None  # counters began again: then, and at that value
    full_at: Sample | None = None  # counters reach their modulus then
    clock_off_s: float = 0.0
    added: tuple[tuple[frozenset[str], float], ...] = ()  # to the values of these points


NO_SHIFT = Shift()


class MeterPoint:
    """Knows the raw number of its point at any moment, its registers, and the value that they mean.

    A meter has a resolution: gauges are rounded to it and counters cut down to it, before the ratios of
    the transformers, for a meter sees their secondary side.
    """

    def __init__(
        self, point: ModbusPoint, profile: ModbusProfile, parameters: dict[str, float], quantity: Quantity
    ) -> None:
        self.point, self.name, self.width = point, point.name, point.width
        self._quantity = quantity
        self._ratio = multiplier(point, parameters)
        self._plain = point.scale == 1 and self._ratio == 1 and point.offset == 0
        self._per_raw = point.scale * self._ratio
        self._word_order = point.word_order or profile.modbus.word_order
        self._byte_order = point.byte_order or profile.modbus.byte_order
        self._sentinels = frozenset(n for n in point.sentinels if n != "nan")
        self._is_float = point.type.startswith("float")
        scale = Fraction(str(point.scale))
        # The step of a raw number: one count, or for floats what is one in the last decimal of the value.
        self._step = Fraction(1, 10**point.decimals) / abs(scale) if self._is_float else Fraction(1)
        self._steps_per_raw = float(1 / self._step)
        self._fast = _FAST.get((point.type, self._word_order, self._byte_order))
        self._wrap = self._wraps_at(scale)
        if isinstance(quantity, Counter):
            per_count = abs(scale) * Fraction(str(self._ratio)) * self._step
            per_step = quantity.per_step / per_count
            self._numerator, self._denominator = per_step.numerator, per_step.denominator
            self._per_count = per_count
            self._first_counts = int(quantity.start / per_count)

    @property
    def rolls_over(self) -> bool:
        """Whether it is a counter that begins again at 0 by itself."""
        return isinstance(self._quantity, Counter) and self._wrap is not None and self._numerator > 0

    def raw(self, sample: Sample, shift: Shift = NO_SHIFT) -> float:
        """The number in its registers."""
        quantity = self._quantity
        if isinstance(quantity, Counter):
            counts = self._counts(quantity, sample, shift)
            for names, amount in shift.added:
                if self.name in names:
                    counts = max(0, counts + round(Fraction(str(amount)) / self._per_count))
            if self._wrap is not None:
                counts %= self._wrap
            return fits(counts / self._steps_per_raw if self._is_float else counts, self.point.type)
        if isinstance(quantity, Gauge):
            value = quantity.read(sample)
        else:  # the clock's face
            value = sample.at_ms / 1000 + shift.clock_off_s
        for names, amount in shift.added:
            if self.name in names:
                value += amount
        steps = round((value - self.point.offset) / self._per_raw * self._steps_per_raw)
        return fits(steps / self._steps_per_raw if self._is_float else steps, self.point.type)

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

    def _counts(self, quantity: Counter, sample: Sample, shift: Shift) -> int:
        counts = quantity.steps(sample) * self._numerator // self._denominator
        if shift.restart is not None:
            at, value = shift.restart
            already = quantity.steps(at) * self._numerator // self._denominator
            return counts - already + int(Fraction(str(value)) / self._per_count)
        if shift.full_at is not None and self._wrap is not None and self._numerator:
            already = quantity.steps(shift.full_at) * self._numerator // self._denominator
            return counts - already + self._wrap
        return counts + self._first_counts

    def _wraps_at(self, scale: Fraction) -> int | None:
        """After how many steps a counter begins again; None: it is a float without a modulus."""
        ends = []
        if self.point.modulus is not None:
            ends.append(int(Fraction(str(self.point.modulus)) / abs(scale) / self._step))
        if not self._is_float:
            ends.append(limits(self.point.type)[1] + 1)
        return min(ends, default=None)


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
