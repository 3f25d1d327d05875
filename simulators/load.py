"""The power that one meter's load draws, and its energy: the exact integral, whoever asks and when.

A day is 288 segments of five minutes. Inside a segment the power runs on a straight line, so the energy
has a closed form. Power is whole milliwatts, time whole milliseconds, energy whole microjoules: sums of
integers, so that a counter can neither fall back by a rounding nor depend on who polled it.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import accumulate

from models.times import DAY_MS
from simulators.building import HOUR_MS, Building
from simulators.noise import drift, key_of, swing

SEGMENT_MS = 300_000
SEGMENTS = DAY_MS // SEGMENT_MS
_DAYS_KEPT = 4  # readers ask for about now; a day costs half a millisecond to make again

# The tariffs of a Chinese multi-rate meter: 0 sharp (尖), 1 peak (峰), 2 flat (平), 3 valley (谷).
_TARIFF_OF_HOUR = (
    *(3,) * 7,  # from midnight
    *(2,) * 3,  # from 7
    *(1,) * 2,  # from 10
    *(2,) * 4,  # from 12
    *(1,) * 1,  # from 16
    *(0,) * 2,  # from 17
    *(1,) * 3,  # from 19
    *(2,) * 1,  # from 22
    *(3,) * 1,  # from 23
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """A load beyond the usual: `power * factor + extra_mw` in a window, every day or at some hours only."""

    start_ms: int
    end_ms: int | None
    factor: float = 1.0
    extra_mw: int = 0
    hours: tuple[float, float] | None = None  # local; (22, 6) runs over midnight

    def covers(self, segment_start_ms: int, hour: float) -> bool:
        if segment_start_ms < self.start_ms or (self.end_ms is not None and segment_start_ms >= self.end_ms):
            return False
        if self.hours is None:
            return True
        begin, end = self.hours
        return begin <= hour < end if begin <= end else hour >= begin or hour < end


@dataclass(frozen=True, slots=True)
class _Day:
    begin: list[int]  # power at the start of each segment, mW
    end: list[int]  # and at its end
    before: list[int]  # energy of the day before each segment, and of the whole day; microjoules


class Load:
    """The active power of one load, and what it has used since `origin_ms`."""

    def __init__(
        self, building: Building, *, name: str, kw: float, origin_ms: int, night_share: float | None = None
    ) -> None:
        self._building = building
        self._key = key_of(building.seed, "load", name)
        self.typical_mw = round(kw * 1_000_000)
        self._night = building.night_share if night_share is None else night_share
        self.origin_ms = origin_ms
        self._first_day = building.local_day(origin_ms)
        self._surplus: list[Surplus] = []
        self._days: OrderedDict[int, _Day] = OrderedDict()
        self._totals: list[tuple[int, ...]] = []
        self._origin = (0, 0, 0, 0, 0)
        self._forget_from(self._first_day)
        self._origin = self._since_first_day(origin_ms)

    def add(self, surplus: Surplus) -> None:
        """Let it draw more from the first whole segment after `surplus.start_ms` on."""
        self._surplus.append(surplus)
        self._forget_from(self._building.local_day(surplus.start_ms))

    def end(self, surplus: Surplus, at_ms: int) -> Surplus:
        """End a surplus with the segment that `at_ms` lies in. What it used stays on the counters."""
        end_ms = at_ms if surplus.end_ms is None else min(at_ms, surplus.end_ms)
        ended = replace(surplus, end_ms=end_ms)
        self._surplus[self._surplus.index(surplus)] = ended
        self._forget_from(self._building.local_day(end_ms))
        return ended

    def power_mw(self, at_ms: int) -> float:
        day, segment, into = self._place(at_ms)
        made = self._day(day)
        begin = made.begin[segment]
        return begin + (made.end[segment] - begin) * into / SEGMENT_MS

    def energy_uj(self, at_ms: int) -> tuple[int, int, int, int, int]:
        """Microjoules since the origin: in all, then by tariff. Before the origin: zeros."""
        if at_ms <= self.origin_ms:
            return (0, 0, 0, 0, 0)
        now, origin = self._since_first_day(at_ms), self._origin
        return (
            now[0] - origin[0],
            now[1] - origin[1],
            now[2] - origin[2],
            now[3] - origin[3],
            now[4] - origin[4],
        )

    def _since_first_day(self, at_ms: int) -> tuple[int, int, int, int, int]:
        day, segment, into = self._place(at_ms)
        while len(self._totals) <= day - self._first_day:
            last = self._day(self._first_day + len(self._totals) - 1)
            whole = (last.before[SEGMENTS], *_by_tariff(last, SEGMENTS, 0))
            self._totals.append(tuple(a + b for a, b in zip(self._totals[-1], whole, strict=True)))
        made = self._day(day)
        begin, end = made.begin[segment], made.end[segment]
        partial = begin * into + (end - begin) * into * into // (2 * SEGMENT_MS)
        total, sharp, peak, flat, valley = self._totals[day - self._first_day]
        today = _by_tariff(made, segment, partial)
        return (
            total + made.before[segment] + partial,
            sharp + today[0],
            peak + today[1],
            flat + today[2],
            valley + today[3],
        )

    def _place(self, at_ms: int) -> tuple[int, int, int]:
        day, into_day = divmod(at_ms + self._building.utc_offset_ms, DAY_MS)
        segment, into = divmod(into_day, SEGMENT_MS)
        return day, segment, into

    def _day(self, day: int) -> _Day:
        made = self._days.get(day)
        if made is None:
            made = self._days[day] = self._make(day)
            if len(self._days) > _DAYS_KEPT:
                self._days.popitem(last=False)
        return made

    def _make(self, day: int) -> _Day:
        """The building's pattern, a better or worse day, slow and quick noise, and what is beyond it."""
        building, noise = self._building, self._building.noise
        day_starts_ms = building.day_starts_ms(day)
        temper = 1.0 + 1.5 * noise * swing(self._key, day)
        corners = []
        for n in range(SEGMENTS + 1):
            at_ms = day_starts_ms + n * SEGMENT_MS
            hour = n * SEGMENT_MS / HOUR_MS
            used = self._night + (1.0 - self._night) * building.presence(day, hour) * temper
            slow = drift(self._key ^ 1, at_ms, 2 * HOUR_MS)
            quick = swing(self._key ^ 2, at_ms // SEGMENT_MS)
            corners.append(max(0, round(self.typical_mw * used * (1.0 + noise * (slow + 0.7 * quick)))))
        begin, end = corners[:-1], corners[1:]
        for surplus in self._surplus:
            for n in range(SEGMENTS):
                if surplus.covers(day_starts_ms + n * SEGMENT_MS, n * SEGMENT_MS / HOUR_MS):
                    begin[n] = max(0, round(begin[n] * surplus.factor) + surplus.extra_mw)
                    end[n] = max(0, round(end[n] * surplus.factor) + surplus.extra_mw)
        used_uj = [(p + q) * (SEGMENT_MS // 2) for p, q in zip(begin, end, strict=True)]
        return _Day(begin=begin, end=end, before=[0, *accumulate(used_uj)])

    def _forget_from(self, day: int) -> None:
        for kept in [kept for kept in self._days if kept >= day]:
            del self._days[kept]
        known = max(1, day - self._first_day + 1)
        self._totals = self._totals[:known] or [(0, 0, 0, 0, 0)]


def _by_tariff(day: _Day, segment: int, partial_uj: int) -> tuple[int, int, int, int]:
    """The energy of a day by tariff: its whole segments before `segment`, and a part of that one."""
    per_hour = HOUR_MS // SEGMENT_MS
    found = [0, 0, 0, 0]
    hours = segment // per_hour
    before = day.before
    for hour in range(hours):
        found[_TARIFF_OF_HOUR[hour]] += before[(hour + 1) * per_hour] - before[hour * per_hour]
    if hours < len(_TARIFF_OF_HOUR):
        this_hour = before[segment] - before[hours * per_hour] + partial_uj
        found[_TARIFF_OF_HOUR[hours]] += this_hour
    return found[0], found[1], found[2], found[3]
