"""Says what a meter is expected to show, from the same hours of like days in the weeks before."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.anomaly.grid import (
    SATURDAY,
    SUNDAY,
    WORK,
    Floats,
    Grid,
    row_mean,
    row_quantile,
    trailing_quantiles,
    widest,
)

LIKE_DAYS: Final = {WORK: 20, SATURDAY: 6, SUNDAY: 6}  # four weeks of working days, six of weekends
AT_LEAST_LIKE_DAYS: Final = 3
ANY_DAYS: Final = 14  # when there are not yet enough like days
AT_LEAST_ANY_DAYS: Final = 5
LEVEL_DAYS: Final = 180
LEVEL_QUANTILE: Final = 0.75

BAND: Final = 0.2  # the band reaches from this quantile to its mirror
FLOOR_OF_HOUR: Final = 0.07  # the scale is never below this share of what is expected …
FLOOR_OF_METER: Final = 0.1  # … nor below this share of the meter's usual level, which summers do not lower
FLOOR_OF_WEATHER: Final = 0.15  # the same for a meter that the weather drives


@dataclass(frozen=True, slots=True)
class Expected:
    """The expectation for each cell; NaN where the past is too short for one."""

    middle: Floats
    low: Floats  # that of the latest quiet day when it is below
    own_low: Floats  # of like days only
    high: Floats
    scale: Floats  # by how much a value may well miss the band
    level: Floats  # of the meter, for each day, as a column
    floor_of_meter: float


def expect(grid: Grid, *, weather: bool) -> Expected:
    """Everything about a day comes from the days before it. `weather`: it drives the meter."""
    values = np.where(grid.values < 0, np.nan, grid.values)
    low, middle, high = _like_days(grid, values)
    width = high - low
    # A building that is shut on a working day does what it does on Sundays.
    quiet = np.fmin(low, _latest_quiet_day(grid, low))
    reach = grid.slots_in_an_hour  # clocks change and people come early: an hour before or after is as good
    day_level = row_quantile(middle, 0.5)
    level = _level(values)
    floor_of_meter = FLOOR_OF_WEATHER if weather else FLOOR_OF_METER
    floor = np.fmax(FLOOR_OF_HOUR * np.fmax(day_level, middle), floor_of_meter * level)
    scale = np.fmax(np.fmax(width / 2, floor), grid.resolution)
    scale[~(scale > 0)] = np.nan
    return Expected(
        middle=middle,
        low=widest(quiet, reach, np.fmin),
        own_low=widest(low, reach, np.fmin),
        high=widest(high, reach, np.fmax),
        scale=scale,
        level=level,
        floor_of_meter=floor_of_meter,
    )


def _like_days(grid: Grid, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Lower edge, middle and upper edge; no middle where there are not yet enough like days."""
    low, middle, high = (np.full(values.shape, np.nan) for _ in range(3))
    for kind, days in LIKE_DAYS.items():
        rows = np.flatnonzero(grid.day_kind == kind)
        if len(rows):
            low[rows], middle[rows], high[rows] = trailing_quantiles(
                values[rows], days, (BAND, 0.5, 1 - BAND), at_least=AT_LEAST_LIKE_DAYS
            )
    least, most = trailing_quantiles(values, ANY_DAYS, (0.0, 1.0), at_least=AT_LEAST_ANY_DAYS)
    # Nobody knows yet what a Saturday is like: anything between the quietest hour and the busiest day.
    unlike = np.isnan(middle)
    least = np.broadcast_to(row_quantile(least, 0.0), least.shape)
    return np.where(unlike, least, low), middle, np.where(unlike, most, high)


def _latest_quiet_day(grid: Grid, low: Floats) -> Floats:
    """The lower edge of the latest Saturday and Sunday, for every day."""
    result = np.full(low.shape, np.nan)
    for kind in (SATURDAY, SUNDAY):
        rows = np.flatnonzero(grid.day_kind == kind)
        if len(rows):
            latest = np.searchsorted(rows, np.arange(grid.days), side="right") - 1
            edge = np.where(latest[:, None] >= 0, low[rows[np.maximum(latest, 0)]], np.nan)
            result = np.fmin(result, edge)
    return result


def _level(values: Floats) -> Floats:
    """What the meter uses on a good day of the last half year."""
    [level] = trailing_quantiles(row_mean(values), LEVEL_DAYS, (LEVEL_QUANTILE,), at_least=1)
    return level
