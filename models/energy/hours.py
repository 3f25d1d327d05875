"""Turns the readings of a counter into consumption for each hour, with coverage and state.

What a step between two readings brought is spread evenly over its time, so a reading 13 s into an hour gives
the hour before its due. Where readings lie too far apart the total is known and its spread over the hours is
not: those hours are estimated, and their sum is what the counter gained.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from models.energy.counter import CounterFacts, Notice, Sample, Step, steps, usable
from models.times import HOUR_MS, hour_of


class State(StrEnum):
    """How far the value of an hour can be trusted: the worst of what it is made of."""

    MEASURED = "measured"
    ESTIMATED = "estimated"  # part of it is a share of what was used over a gap
    SUSPECT = "suspect"  # part of the hour is left out because the counter cannot be believed there
    MISSING = "missing"  # nothing is known


@dataclass(frozen=True, slots=True)
class HourConsumption:
    """What one hour used."""

    hour_ms: int
    value: float | None  # None exactly when the state is MISSING
    coverage: float  # 0 to 1: the share of the hour for which `value` was measured
    state: State


@dataclass(frozen=True, slots=True)
class Ledger:
    """Consumption for each hour that was asked for, in order, and what happened to the counter."""

    hours: list[HourConsumption]
    notices: list[Notice]


@dataclass(slots=True)
class _Hour:
    """One hour while its steps are added up."""

    start_ms: int
    value: float = 0.0
    measured_ms: int = 0
    estimated_ms: int = 0
    suspect_ms: int = 0

    def judged(self) -> HourConsumption:
        if self.measured_ms + self.estimated_ms == 0:
            return HourConsumption(self.start_ms, None, 0.0, State.MISSING)
        if self.suspect_ms:
            state = State.SUSPECT
        elif self.estimated_ms:
            state = State.ESTIMATED
        else:
            state = State.MEASURED
        return HourConsumption(self.start_ms, self.value, self.measured_ms / HOUR_MS, state)


def consumption_by_hour(
    samples: Iterable[Sample], facts: CounterFacts, *, start_ms: int, end_ms: int
) -> Ledger:
    """The hours from `start_ms` up to `end_ms`, both beginnings of hours.

    The hours come out as from the whole history if `samples` has all readings of them and, on either side,
    `CONTEXT_READINGS` usable ones (or all there are). The order of the samples does not matter.
    """
    found, notices = steps(usable(samples), facts)
    hours = [_Hour(hour_ms) for hour_ms in range(start_ms, end_ms, HOUR_MS)]
    for step in found:
        first = max(0, (step.start_ms - start_ms) // HOUR_MS)
        _spread(step, facts.gap_ms, hours[first : max(0, -((start_ms - step.end_ms) // HOUR_MS))])
    return Ledger(
        hours=[hour.judged() for hour in hours],
        notices=[n for n in notices if n.end_ms > start_ms and n.start_ms < end_ms],
    )


def _spread(step: Step, gap_ms: int, hours: list[_Hour]) -> None:
    """Add its share of the step to each of `hours`, which are those that it touches."""
    duration_ms = step.end_ms - step.start_ms
    # When both readings lie in one hour its total is known, however far apart they are.
    is_gap = duration_ms > gap_ms and hour_of(step.start_ms) != hour_of(step.end_ms - 1)
    for hour in hours:
        part_ms = min(step.end_ms, hour.start_ms + HOUR_MS) - max(step.start_ms, hour.start_ms)
        if step.amount is None:
            hour.suspect_ms += part_ms
            continue
        hour.value += step.amount * part_ms / duration_ms
        if is_gap:
            hour.estimated_ms += part_ms
        else:
            hour.measured_ms += part_ms
