"""Keeps a reading only when it is news, as the configuration says point by point.

What is kept rebuilds the rest: at every sample the curve is within the dead band, whether it is drawn as
steps (the last value holds) or as straight lines from one kept reading to the next. So a jump keeps the
sample before it as well. A change of quality or of its reason is always news, and so is the first reading
after a start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drivers.contract import Sink
from edge_agent.config import ReportSection
from models.reading import Item, Reading

_WIDEST: Final = float("inf")


@dataclass(slots=True)
class _Curve:
    """What is kept of one point, and the samples since."""

    kept: Reading
    band: float
    last: Reading | None = None  # the newest sample, when it was not kept
    steepest: float = _WIDEST  # a line from `kept` must not rise faster than this to stay in the band …
    flattest: float = -_WIDEST  # … nor slower, at every sample since

    def allows(self, value: float, measured_ms: int) -> bool:
        """Whether a straight line from `kept` to this sample stays in the band at all between."""
        slope = (value - _value(self.kept)) / (measured_ms - self.kept.measured_ms)
        return self.flattest <= slope <= self.steepest

    def left_out(self) -> list[Reading]:
        """The newest sample that was not kept, if there is one."""
        return [] if self.last is None else [self.last]

    def leave_out(self, reading: Reading) -> list[Reading]:
        """Remember a sample that is not kept: nothing to keep."""
        self.last = reading
        return []

    def narrow(self, reading: Reading) -> list[Reading]:
        """Remember a sample that is not kept, and that the line must not miss: nothing to keep."""
        span_ms = reading.measured_ms - self.kept.measured_ms
        rise = _value(reading) - _value(self.kept)
        self.steepest = min(self.steepest, (rise + self.band) / span_ms)
        self.flattest = max(self.flattest, (rise - self.band) / span_ms)
        return self.leave_out(reading)


class ReportFilter:
    """The rules of all points, and what each has said last."""

    def __init__(self, rules: Mapping[str, Mapping[str, ReportSection]]) -> None:
        """`rules` are by device and point; `*` stands for all points of a device that have no rule."""
        self._rules = rules
        self._curves: dict[tuple[str, str], _Curve] = {}
        self._cut: dict[tuple[str, str], _Curve] = {}  # kept by rules that hold no more

    def use(self, rules: Mapping[str, Mapping[str, ReportSection]]) -> None:
        """Judge by these from now on. Where they are others, the next reading is news."""
        for key in list(self._curves):
            if self._rule(key) != _rule_in(rules, key):
                self._cut[key] = self._curves.pop(key)
        self._rules = rules

    def news(self, items: Sequence[Item]) -> Sequence[Item]:
        """What of `items` is to be kept, in order, with earlier samples that rebuilding now needs."""
        if not self._rules and not self._cut:
            return items
        kept: list[Item] = []
        for item in items:
            if not isinstance(item, Reading):
                kept.append(item)
                continue
            key = (item.device_id, item.point)
            if key in self._cut:
                kept += self._cut.pop(key).left_out()
            rule = self._rule(key)
            if rule is None:
                kept.append(item)
            else:
                kept += self._judge(item, rule)
        return kept

    def _rule(self, key: tuple[str, str]) -> ReportSection | None:
        return _rule_in(self._rules, key)

    def _judge(self, reading: Reading, rule: ReportSection) -> list[Reading]:
        key = (reading.device_id, reading.point)
        curve = self._curves.get(key)
        if curve is None:
            return [self._keep(key, reading, rule)]
        if _is_other(curve.kept, reading):
            return [*curve.left_out(), self._keep(key, reading, rule)]
        elapsed_ms = reading.measured_ms - curve.kept.measured_ms
        if elapsed_ms <= 0:
            return [reading]  # late: it lies on a part of the curve that is drawn already
        is_due = self._is_due(curve, reading, rule)
        if reading.value is None:
            return [self._keep(key, reading, rule)] if is_due else curve.leave_out(reading)
        if elapsed_ms < rule.min_interval_s * 1000:
            return curve.leave_out(reading)
        leaves_band = abs(reading.value - _value(curve.kept)) > curve.band
        bends = not rule.min_interval_s and not curve.allows(reading.value, reading.measured_ms)
        before = curve.left_out() if bends else []
        if leaves_band or is_due:
            return [*before, self._keep(key, reading, rule)]
        if not before:
            return curve.narrow(reading)
        curve = self._begin(key, before[0], rule)
        if abs(reading.value - _value(curve.kept)) > curve.band:
            return [*before, self._keep(key, reading, rule)]
        curve.narrow(reading)
        return before

    def _is_due(self, curve: _Curve, reading: Reading, rule: ReportSection) -> bool:
        """Whether the next sample would come too late for the longest interval."""
        before_ms = (curve.last or curve.kept).measured_ms
        spacing_ms = reading.measured_ms - before_ms
        return reading.measured_ms + spacing_ms > curve.kept.measured_ms + rule.max_interval_s * 1000

    def _keep(self, key: tuple[str, str], reading: Reading, rule: ReportSection) -> Reading:
        return self._begin(key, reading, rule).kept

    def _begin(self, key: tuple[str, str], reading: Reading, rule: ReportSection) -> _Curve:
        curve = self._curves[key] = _Curve(reading, _band(reading, rule))
        return curve


class ReportingSink:
    """A `drivers.contract.Sink` that lets only news through. Marks go through always."""

    def __init__(self, sink: Sink, rules: Mapping[str, Mapping[str, ReportSection]]) -> None:
        self._sink, self._filter = sink, ReportFilter(rules)

    def use(self, rules: Mapping[str, Mapping[str, ReportSection]]) -> None:
        """See `ReportFilter.use`."""
        self._filter.use(rules)

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        news = self._filter.news(items)
        if news or marks:
            await self._sink.put(news, marks)

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self._sink.marks(prefix)


def _rule_in(rules: Mapping[str, Mapping[str, ReportSection]], key: tuple[str, str]) -> ReportSection | None:
    device_id, point = key
    of_device = rules.get(device_id)
    return None if of_device is None else of_device.get(point) or of_device.get("*")


def _is_other(kept: Reading, reading: Reading) -> bool:
    was = (kept.quality, kept.reason, kept.value is None)
    return was != (reading.quality, reading.reason, reading.value is None)


def _band(reading: Reading, rule: ReportSection) -> float:
    if rule.dead_band is not None:
        return rule.dead_band
    if rule.dead_band_pct is not None and reading.value is not None:
        return abs(reading.value) * rule.dead_band_pct / 100
    return 0.0


def _value(reading: Reading) -> float:
    if reading.value is None:
        raise ValueError("a curve is made of readings with a value")
    return reading.value
