"""Lays a series out as days by slots, and looks back over its days without looking forward."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY_S: Final = 86_400
HOUR_S: Final = 3_600

WORK, SATURDAY, SUNDAY = 0, 1, 2

Calendar = Mapping[date, bool]
"""Days that are not what their weekday says: True is a working day, False a day off."""

_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_FIRST_SAMPLES: Final = 200
"""The interval is told from the beginning of a series, so that nothing that comes later can change it."""
_CELLS_AT_ONCE: Final = 4_000_000  # 32 MB of windows sorted in one go


@dataclass(frozen=True, slots=True)
class Grid:
    """A series on its grid. There is one day more than the series has: its last slot has a next one."""

    values: Floats  # days by slots; NaN where there is no value
    first_day: int  # since 1970
    row: Ints  # of each sample
    column: Ints
    day_kind: Ints  # of each day
    step_s: int
    resolution: float  # the smallest difference between values that the first week shows

    @property
    def days(self) -> int:
        return len(self.values)

    @property
    def slots(self) -> int:
        return DAY_S // self.step_s

    @property
    def slots_in_an_hour(self) -> int:
        return HOUR_S // self.step_s


def seconds(timestamps: ArrayLike) -> Ints:
    """Seconds since 1970 from whole numbers or any datetime64."""
    array = np.asarray(timestamps)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[s]")
    return array.astype(np.int64)


def lay_out(seconds_: Ints, values: Floats, calendar: Calendar | None) -> Grid:
    """`seconds_` ascend. Several values in one slot: the last one stands for it."""
    step_s = _interval(seconds_)
    first_day = int(seconds_[0]) // DAY_S
    days = int(seconds_[-1]) // DAY_S - first_day + 2
    row = seconds_ // DAY_S - first_day
    column = seconds_ % DAY_S // step_s
    cells = np.full((days, DAY_S // step_s), np.nan)
    cells[row, column] = values
    first_week = values[seconds_ < seconds_[0] + 7 * DAY_S]
    distinct = np.unique(np.round(first_week[np.isfinite(first_week)], 9))
    return Grid(
        values=cells,
        first_day=first_day,
        row=row,
        column=column,
        day_kind=_kinds(first_day, days, calendar),
        step_s=step_s,
        resolution=float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0,
    )


def _interval(seconds_: Ints) -> int:
    """The usual distance, brought to one that divides a day."""
    distances = np.diff(seconds_[:_FIRST_SAMPLES])
    distances = distances[distances > 0]
    usual = float(np.median(distances)) if len(distances) else HOUR_S
    slots = max(1, min(1440, round(DAY_S / usual)))
    while DAY_S % slots:
        slots -= 1
    return DAY_S // slots


def _kinds(first_day: int, days: int, calendar: Calendar | None) -> Ints:
    number = np.arange(first_day, first_day + days)
    weekday = (number + _EPOCH_WEEKDAY) % 7
    kinds = np.where(weekday < 5, WORK, np.where(weekday == 5, SATURDAY, SUNDAY))
    for day, works in (calendar or {}).items():
        index = day.toordinal() - _EPOCH_ORDINAL - first_day
        if 0 <= index < days:
            kinds[index] = WORK if works else SUNDAY
    return kinds


def trailing_quantiles(
    cells: Floats, days: int, quantiles: Sequence[float], *, at_least: int, spared: int = 0
) -> list[Floats]:
    """For each cell, quantiles of its slot over the `days` rows before; NaN with fewer than `at_least`.

    No quantile is taken from the `spared` greatest values, which matters while there are few.
    """
    rows, slots = cells.shape
    results = [np.full((rows, slots), np.nan) for _ in quantiles]
    padded = np.vstack([np.full((days, slots), np.nan), cells])
    windows = np.lib.stride_tricks.sliding_window_view(padded, days, axis=0)
    block = max(1, _CELLS_AT_ONCE // (slots * days))
    for start in range(0, rows, block):
        part = np.sort(windows[start : min(start + block, rows)], axis=2)  # NaN goes to the end
        count = np.isfinite(part).sum(axis=2)
        for quantile, result in zip(quantiles, results, strict=True):
            found = _quantile(part, np.maximum(count, 1), quantile, spared)
            result[start : start + block] = np.where(count >= max(at_least, 1), found, np.nan)
    return results


def _quantile(ordered: Floats, count: Any, quantile: float, spared: int) -> Floats:
    position = np.maximum(np.minimum(quantile * (count - 1), count - 1 - spared), 0)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    low = np.take_along_axis(ordered, below[..., None], axis=2)[..., 0]
    high = np.take_along_axis(ordered, above[..., None], axis=2)[..., 0]
    result: Floats = low + (high - low) * (position - below)
    return result


def row_quantile(cells: Floats, quantile: float) -> Floats:
    """A quantile of each row as a column; NaN for a row without values."""
    ordered = np.sort(cells, axis=1)[:, None, :]
    count = np.maximum(np.isfinite(cells).sum(axis=1)[:, None], 1)
    return _quantile(ordered, count, quantile, 0)


def row_mean(cells: Floats) -> Floats:
    """The mean of each row as a column; NaN for a row without values."""
    known = np.isfinite(cells)
    count = known.sum(axis=1)[:, None]
    total = np.where(known, cells, 0.0).sum(axis=1)[:, None]
    result: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def widest(cells: Floats, reach: int, pick: np.ufunc) -> Floats:
    """The `pick` (np.fmax or np.fmin) of each cell and those up to `reach` slots before and after it."""
    flat = cells.ravel()
    result = flat.copy()
    for distance in range(1, reach + 1):
        result[distance:] = pick(result[distance:], flat[:-distance])
        result[:-distance] = pick(result[:-distance], flat[distance:])
    return result.reshape(cells.shape)


def decaying_mean(cells: Floats, half_life_h: float, step_s: int) -> Floats:
    """The exponentially weighted mean of all cells up to each; day by day, so that weights fit a float."""
    days, slots = cells.shape
    keep = 0.5 ** (step_s / HOUR_S / half_life_h)
    weights = keep ** np.arange(slots + 1)
    within = np.cumsum(cells / weights[:slots], axis=1) * weights[:slots] * (1 - keep)
    carried, mean = np.empty(days), 0.0
    for day in range(days):
        carried[day] = mean
        mean = mean * weights[slots] + within[day, -1]
    result: Floats = within + carried[:, None] * weights[None, 1:]
    return result
