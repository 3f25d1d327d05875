"""Finds the times in which a counter used more or less than its past lets expect."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector.insight.hours import Hours
from collector.insight.stuck import is_still
from models.anomaly import Why, assess

JOIN_H: Final = 3
"""Odd hours at most so far apart are one time."""

LEAST_ODD_H: Final = 2  # one odd hour may be anything
FRESH_H: Final = 3
"""A time that ended longer ago is history: a finding, but nobody is called."""

OVER_H: Final = 4  # usual hours in a row, until an alert is over

_NOT_CONSUMPTION: Final = (Why.STUCK, Why.AFTER_LOSS, Why.NEGATIVE)  # faults of meter and data


@dataclass(frozen=True, slots=True)
class Episode:
    """Consecutive odd hours."""

    start_ms: int
    end_ms: int
    odd_hours: int
    score: float  # of its oddest hour; 1 and more is odd
    seen: float
    expected: float
    low: float
    high: float
    is_fresh: bool  # among the newest hours
    is_over: bool  # usual hours came after it

    @property
    def excess(self) -> float:
        return self.seen - self.expected


def episodes(hours: Hours, kind: str) -> list[Episode]:
    """All of the series, oldest first. Hours that stand still, and the first after them, are left out:
    whether a meter is stuck is for another detector to say."""
    found = assess(hours.local_s(), hours.value, kind=kind)
    still = is_still(hours) & (np.nan_to_num(found.low) > hours.resolution)
    odd = found.flags & ~np.isin(found.why, _NOT_CONSUMPTION) & ~still
    odd[1:] &= ~still[:-1]
    at = np.flatnonzero(odd)
    if not len(at):
        return []
    groups = np.split(at, np.flatnonzero(np.diff(at) > JOIN_H) + 1)
    newest = len(odd) - 1
    result = []
    for group in groups:
        if len(group) < LEAST_ODD_H:
            continue
        last = int(group[-1])
        known_after = int((~np.isnan(hours.value[last + 1 :])).sum())
        result.append(
            Episode(
                start_ms=int(hours.hour_ms[group[0]]),
                end_ms=int(hours.hour_ms[last]) + 3_600_000,
                odd_hours=len(group),
                score=float(np.max(found.scores[group])),
                seen=float(hours.value[group].sum()),
                expected=float(np.nansum(found.expected[group])),
                low=float(np.nansum(found.low[group])),
                high=float(np.nansum(found.high[group])),
                is_fresh=newest - last <= FRESH_H,
                is_over=known_after >= OVER_H,
            )
        )
    return result
