"""Tells from its hours whether a counter has stopped: it stands still for longer than it ever did."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.insight.devices import Hours

MARGIN: Final = 1.5  # times the longest stillness that its past has shown
LEAST_HISTORY_H: Final = 168  # with a weekend in it, on which many a counter may rest
MOVES: Final = 0.5  # of the hours of its past must use something, or it is a counter that mostly stands


@dataclass(frozen=True, slots=True)
class Stillness:
    """The time for which a counter has shown the same value, up to its newest hour."""

    hours: Hours
    start_ms: int  # the first still hour
    count: int  # of still hours that are known
    longest_before: int
    expected: float  # what its past lets expect of this time, in the counter's unit

    def is_stuck(self, after_hours: int) -> bool:
        return self.count >= max(after_hours, MARGIN * self.longest_before + 1)


def stillness(hours: Hours) -> Stillness | None:
    """The stillness at the end of a series; None when it moves, or its past is too short to tell."""
    still = hours.is_still()
    if not still[-1]:
        return None
    moving = np.flatnonzero(~still & ~np.isnan(hours.value))
    if not len(moving):
        return None
    start = int(moving[-1]) + 1
    past, known = hours.value[:start], ~np.isnan(hours.value[:start])
    if known.sum() < LEAST_HISTORY_H or (~still[:start] & known).sum() < MOVES * known.sum():
        return None
    return Stillness(
        hours=hours,
        start_ms=int(hours.hour_ms[start]),
        count=int(still[start:].sum()),
        longest_before=_longest_run(still[:start]),
        expected=_usual(past, start, len(still)),
    )


def _usual(past: NDArray[np.float64], start: int, end: int) -> float:
    """What the same hours of the days before used, on average."""
    of_hour = [past[index % 24 :: 24] for index in range(start, min(end, start + 24))]
    means = [float(values[~np.isnan(values)].mean()) for values in of_hour if not np.isnan(values).all()]
    return float(np.mean(means)) * (end - start) if means else 0.0


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
