"""Predicts each value from the ones just before it; how far it is off shows short events and beginnings."""

from typing import Final

import numpy as np

from models.anomaly.expected import FLOOR_OF_HOUR, Expected
from models.anomaly.grid import (
    Bools,
    Floats,
    Grid,
    decaying_mean,
    row_quantile,
    trailing_quantiles,
    widest,
)

FIT_WEEKS: Final = 8
FIRST_FIT_DAYS: Final = 14
MEMORY_H: Final = 24.0
RIDGE: Final = 20.0
USUAL_DAYS: Final = 21
USUAL_QUANTILE: Final = 0.75
AT_LEAST_USUAL_DAYS: Final = 7
_OUTLIER: Final = 4.0  # standard deviations from which on a value counts less in a fit


def surprises(grid: Grid, expected: Expected) -> Floats:
    """By how many of its usual surprises each value differs from its prediction; signed.

    The prediction is what the hour lets expect plus a share of how far the hours before, the same hour of
    the day before and of the week before were off. The shares are fitted anew each week to the weeks before.
    """
    unit = np.fmax(expected.level, 5 * grid.resolution)
    unit[~(unit > 0)] = np.nan
    off = (grid.values - expected.middle) / unit
    predicted = _predicted(grid, np.clip(np.nan_to_num(off), -1.0, 1.0), np.isfinite(off))
    error = off - predicted
    # What the expectation itself changes within an hour is no surprise when it comes early or late.
    middle = expected.middle / unit
    reach = grid.slots_in_an_hour
    slope = np.fmax(widest(middle, reach, np.fmax) - middle, middle - widest(middle, reach, np.fmin))
    error = np.sign(error) * np.maximum(np.abs(error) - np.nan_to_num(slope), 0.0)
    [usual] = trailing_quantiles(np.abs(error), USUAL_DAYS, (USUAL_QUANTILE,), at_least=AT_LEAST_USUAL_DAYS)
    floor = np.fmax(FLOOR_OF_HOUR * np.fmax(row_quantile(middle, 0.5), middle), expected.floor_of_meter)
    scale = np.fmax(widest(usual, reach, np.fmax), row_quantile(usual, 0.5))
    scale = np.fmax(scale, np.fmax(floor, grid.resolution / unit))
    result: Floats = error / scale
    return result


def _predicted(grid: Grid, off: Floats, known: Bools) -> Floats:
    flat, slots = off.ravel(), grid.slots
    memory = decaying_mean(off, MEMORY_H, grid.step_s).ravel()
    lags = sorted({1, 2, slots, 7 * slots})
    before = np.column_stack([_shifted(flat, lag) for lag in lags] + [_shifted(memory, 1)])
    predicted = np.zeros_like(flat)
    known = known.ravel()
    # Weeks are counted from 1970, so that a series that begins later is fitted at the same times.
    first = -int(grid.first_day) % 7
    for day in range(first, grid.days, 7):
        start, end = max(0, day - 7 * FIT_WEEKS) * slots, day * slots
        if day < FIRST_FIT_DAYS:
            continue
        use = known[start:end]
        shares = _fit(before[start:end][use], flat[start:end][use])
        predicted[end : end + 7 * slots] = before[end : end + 7 * slots] @ shares
    return predicted.reshape(off.shape)


def _shifted(flat: Floats, lag: int) -> Floats:
    return np.concatenate([np.zeros(lag), flat[:-lag]])[: len(flat)]


def _fit(before: Floats, off: Floats) -> Floats:
    """Least squares, held towards zero, in which outliers count less."""
    spread = 1.48 * float(np.median(np.abs(off))) + 1e-6 if len(off) else 1.0
    weight = np.minimum(1.0, _OUTLIER * spread / np.maximum(np.abs(off), 1e-9))
    weighted = before * weight[:, None]
    normal: Floats = weighted.T @ before + RIDGE * spread**2 * np.eye(before.shape[1])
    return np.linalg.solve(normal, weighted.T @ off).astype(np.float64)
