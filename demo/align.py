"""Holds what a collector stored of one point against what the meter showed, both in their order.

A stored reading carries the time in the middle of its request, a shown value the time at which the meter
answered. Their order is therefore the same, and the cheapest way to turn one row into the other says what is
missing, doubled or wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = (
    12  # how far the two rows may drift apart; more than so many losses in one run are counted all the same
)
_UNCONFIRMED = 1e-3  # leaving out a value that may or may not have been stored costs next to nothing


@dataclass(frozen=True, slots=True)
class Shown:
    """A value that the meter showed. Unconfirmed: the reader was killed before it had to have stored it."""

    value: float
    confirmed: bool


@dataclass(slots=True)
class Tally:
    """How many values were produced, and what became of them."""

    produced: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    wrong_value: int = 0
    in_flight: int = 0  # unconfirmed and not stored: lost with the reader that was killed, as it may be

    def add(self, other: "Tally") -> None:
        self.produced += other.produced
        self.stored += other.stored
        self.missing += other.missing
        self.doubled += other.doubled
        self.wrong_value += other.wrong_value
        self.in_flight += other.in_flight


def tally(shown: Sequence[Shown], stored: Sequence[float], *, tolerance: float = 0.0) -> Tally:
    """`shown` and `stored` in the order of time. Values that differ by `tolerance` at most are the same."""
    if len(shown) == len(stored) and all(
        abs(s.value - v) <= tolerance for s, v in zip(shown, stored, strict=True)
    ):
        return Tally(produced=len(shown), stored=len(stored))
    return _cheapest(shown, stored, tolerance)


def _cheapest(shown: Sequence[Shown], stored: Sequence[float], tolerance: float) -> Tally:
    """Edit distance in a band around the diagonal, with the steps remembered."""
    width = _WIDTH + abs(len(shown) - len(stored))
    cost: list[dict[int, float]] = [{} for _ in range(len(shown) + 1)]
    step: list[dict[int, str]] = [{} for _ in range(len(shown) + 1)]
    cost[0][0] = 0.0
    for i in range(len(shown) + 1):
        for j in range(max(0, i - width), min(len(stored), i + width) + 1):
            if i == j == 0:
                continue
            ways: list[tuple[float, str]] = []
            if i and j and (before := cost[i - 1].get(j - 1)) is not None:
                same = abs(shown[i - 1].value - stored[j - 1]) <= tolerance
                ways.append((before + (0.0 if same else 1.0), "same" if same else "wrong"))
            if i and (before := cost[i - 1].get(j)) is not None:
                confirmed = shown[i - 1].confirmed
                ways.append(
                    (before + (1.0 if confirmed else _UNCONFIRMED), "missing" if confirmed else "in_flight")
                )
            if j and (before := cost[i].get(j - 1)) is not None:
                ways.append((before + 1.0, "doubled"))
            cost[i][j], step[i][j] = min(ways)
    result = Tally(stored=len(stored))
    i, j = len(shown), len(stored)
    while i or j:
        what = step[i][j]
        if what in ("same", "wrong"):
            i, j = i - 1, j - 1
            result.produced += 1
            result.wrong_value += what == "wrong"
        elif what == "doubled":
            j -= 1
            result.doubled += 1
        else:
            i -= 1
            result.produced += what == "missing"
            result.missing += what == "missing"
            result.in_flight += what == "in_flight"
    return result
