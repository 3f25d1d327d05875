"""The number that a meter holds for one point at any moment, before it is packed for the wire."""

from dataclasses import dataclass
from fractions import Fraction

from models.profile import Point
from simulators.electric import Sample
from simulators.quantities import Counter, Gauge, Quantity


@dataclass(frozen=True, slots=True)
class Shift:
    """What an anomaly does to a meter at one moment, beside freezing it or loading it."""

    restart: tuple[Sample, float] | None = None  # counters began again: then, and at that value
    full_at: Sample | None = None  # counters reach their modulus then
    clock_off_s: float = 0.0
    added: tuple[tuple[frozenset[str], float], ...] = ()  # to the values of these points


NO_SHIFT = Shift()


class RawPoint:
    """Knows the raw number of its point at any moment.

    A meter has a resolution: gauges are rounded to it and counters cut down to it, before the ratios of
    the transformers, for a meter sees their secondary side.
    """

    def __init__(
        self,
        point: Point,
        quantity: Quantity,
        *,
        per_raw: Fraction,
        ratio: float = 1.0,
        step: Fraction = Fraction(1),
        holds: int | None = None,
    ) -> None:
        """`per_raw`: what one raw number is worth, without `ratio`, the product of the transformer ratios.

        `step` is the resolution of the raw number; `holds` is how many steps there is room for.
        """
        self.name = point.name
        self._quantity = quantity
        self._offset = point.offset
        self._per_raw = float(per_raw) * ratio
        self._steps_per_raw = float(1 / step)
        self._wrap = _wraps_at(point, abs(per_raw), step, holds)
        if isinstance(quantity, Counter):
            per_count = abs(per_raw) * Fraction(str(ratio)) * step
            per_step = quantity.per_step / per_count
            self._numerator, self._denominator = per_step.numerator, per_step.denominator
            self._per_count = per_count
            self._first_counts = int(quantity.start / per_count)

    @property
    def rolls_over(self) -> bool:
        """Whether it is a counter that begins again at 0 by itself."""
        return isinstance(self._quantity, Counter) and self._wrap is not None and self._numerator > 0

    def number(self, sample: Sample, shift: Shift = NO_SHIFT) -> float:
        """The raw number, which may be more than its registers or digits can hold."""
        quantity = self._quantity
        if isinstance(quantity, Counter):
            counts = self._counts(quantity, sample, shift)
            for names, amount in shift.added:
                if self.name in names:
                    counts = max(0, counts + round(Fraction(str(amount)) / self._per_count))
            if self._wrap is not None:
                counts %= self._wrap
            return counts / self._steps_per_raw if self._steps_per_raw != 1 else counts
        if isinstance(quantity, Gauge):
            value = quantity.read(sample)
        else:  # the clock's face
            value = sample.at_ms / 1000 + shift.clock_off_s
        for names, amount in shift.added:
            if self.name in names:
                value += amount
        steps = round((value - self._offset) / self._per_raw * self._steps_per_raw)
        return steps / self._steps_per_raw if self._steps_per_raw != 1 else steps

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


def _wraps_at(point: Point, per_raw: Fraction, step: Fraction, holds: int | None) -> int | None:
    """After how many steps a counter begins again; None: it is a float without a modulus."""
    ends = [] if holds is None else [holds]
    if point.modulus is not None:
        ends.append(int(Fraction(str(point.modulus)) / per_raw / step))
    return min(ends, default=None)
