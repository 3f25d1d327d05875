"""Tells whether a counter has stopped: it stands still for longer than it ever did."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.insight.hours import Hours

LEAST_H: Final = 6
"""A night without load is no fault of the meter; nor is an hour of maintenance."""

MARGIN: Final = 1.5  # times the longest stillness that its past has shown
LEAST_HISTORY_H: Final = 72
MOVES: Final = (
    0.5  # of the hours of its past must have some consumption, or it is a counter that mostly stands
)


@dataclass(frozen=True, slots=True)
class Stillness:
    """The time for which a counter has shown the same value, up to its newest hour."""

    start: int  # index of the first still hour
    hours: int
    longest_before: int
    expected: float  # what its past lets expect of this time, in the counter's unit

    @property
    def is_stuck(self) -> bool:
        return self.hours >= max(LEAST_H, MARGIN * self.longest_before + 1)


def stillness(hours: Hours) -> Stillness | None:
    """The stillness at the end of a series; None when it moves, or its past is too short to tell."""
    still = is_still(hours)
    if not still[-1]:
        return None
    moving = np.flatnonzero(~still & ~np.isnan(hours.value))
    if not len(moving):
        return None
    start = int(moving[-1]) + 1
    past = hours.value[:start]
    known = ~np.isnan(past)
    if known.sum() < LEAST_HISTORY_H or (~still[:start] & known).sum() < MOVES * known.sum():
        return None
    same_hours = [np.nanmean(past[(start + i) % 24 :: 24]) for i in range(min(len(still) - start, 24))]
    scale = (len(still) - start) / len(same_hours)
    return Stillness(
        start=start,
        hours=int(still[start:].sum()),
        longest_before=_longest_run(still[:start]),
        expected=float(np.nansum(same_hours) * scale),
    )


def is_still(hours: Hours) -> NDArray[np.bool_]:
    """Hours in which the counter has not moved by half of its last digit."""
    return np.nan_to_num(hours.value, nan=np.inf) < hours.resolution / 2


def _longest_run(flags: NDArray[np.bool_]) -> int:
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
