"""A building's days: who is in it when, and the voltage and frequency that all its meters share."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise

from models.times import DAY_MS
from simulators.noise import drift, key_of

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """What an office building is like. Hours are local and may have fractions: 8.5 is half past eight."""

    seed: int = 1
    utc_offset_h: float = 8.0
    work_from_h: float = 8.5
    work_to_h: float = 18.0
    lunch_from_h: float = 12.0
    lunch_to_h: float = 13.5
    lunch_dip: float = 0.25  # this part of the day's load is switched off at lunch
    night_share: float = 0.22  # base load, as a part of a working day's load
    weekend_share: float = 0.12  # of the people, on Saturdays and Sundays
    noise: float = 0.04  # relative, around the pattern
    nominal_v: float = 230.0
    frequency_hz: float = 50.0
    holidays: frozenset[date] = frozenset()

    def local_day(self, at_ms: int) -> int:
        """The day since 1970 on the building's own clock."""
        return (at_ms + self.utc_offset_ms) // DAY_MS

    @property
    def utc_offset_ms(self) -> int:
        return round(self.utc_offset_h * HOUR_MS)

    def day_starts_ms(self, day: int) -> int:
        return day * DAY_MS - self.utc_offset_ms

    def is_free(self, day: int) -> bool:
        """Whether a local day is a Saturday, a Sunday or a holiday."""
        on = datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date()
        return on.weekday() >= 5 or on in self.holidays

    def presence(self, day: int, hour: float) -> float:
        """How much of the people and of what they use is on, from 0 to 1."""
        corners = [
            (self.work_from_h - 2.0, 0.0),
            (self.work_from_h - 0.5, 0.35),  # cleaning, and what a timer starts
            (self.work_from_h + 0.75, 1.0),
            (self.lunch_from_h, 1.0),
            (self.lunch_from_h + 0.5, 1.0 - self.lunch_dip),
            (self.lunch_to_h - 0.25, 1.0 - self.lunch_dip),
            (self.lunch_to_h + 0.5, 0.97),
            (self.work_to_h - 0.75, 0.93),
            (self.work_to_h + 0.75, 0.3),
            (self.work_to_h + 3.0, 0.0),
        ]
        on = _between(corners, hour)
        return on * self.weekend_share if self.is_free(day) else on

    def supply(self, at_ms: int) -> tuple[float, float, float]:
        """The three phase voltages at the building's entry. They sag while the neighbourhood works."""
        day, into = divmod(at_ms + self.utc_offset_ms, DAY_MS)
        sag = 0.012 * self.presence(day, into / HOUR_MS)
        phase = [
            self.nominal_v
            * (
                1.006
                - sag
                + 0.004 * drift(key_of(self.seed, "volt", n), at_ms, 600_000)
                + 0.0012 * drift(key_of(self.seed, "flicker", n), at_ms, 7_000)
            )
            for n in range(3)
        ]
        return phase[0], phase[1], phase[2]

    def grid_hz(self, at_ms: int) -> float:
        return self.frequency_hz + 0.035 * drift(key_of(self.seed, "hz"), at_ms, 20_000)


def _between(corners: list[tuple[float, float]], hour: float) -> float:
    if hour <= corners[0][0]:
        return corners[0][1]
    for (x0, y0), (x1, y1) in pairwise(corners):
        if hour <= x1:
            return y0 + (y1 - y0) * (hour - x0) / (x1 - x0)
    return corners[-1][1]
