"""Says what happened between two readings of a counter: how much was used, and how far that can be trusted.

The judgement of a step depends on the few readings around it and on nothing else, so hours that are computed
again after a late reading come out as if everything had arrived in order.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from models.reading import Quality
from models.times import HOUR_MS

GLITCH_READINGS: Final = 3
"""A counter that falls and is back after at most so many readings has not really fallen."""

CONTEXT_READINGS: Final = 3 * GLITCH_READINGS + 3
"""So many usable readings on either side decide about a step.

Its own ends and the step before and after it may each have a glitch in between, and whether a reading is
part of a glitch shows in the readings around it.
"""

RATE_MARGIN: Final = 2.0
"""A step faster than twice the greatest rate is doubted: the rule of the guidance for energy collectors."""

UNDECLARED_ROLLOVER_SHARE: Final = 0.01
"""Without a greatest rate, only a step of at most this share of the modulus passes for a rollover."""

_FLOAT32_STEP: Final = 2.0**-23
_UNKNOWN_GAP_MS: Final = HOUR_MS
_SHORTEST_GAP_MS: Final = 5 * 60_000  # polling is never so even that less would mean something
_LONGEST_STEP_MS: Final = HOUR_MS * 3 // 2  # a meter read once an hour may be late, but must not skip one
_PERIODS_IN_STEP: Final = 2.5  # one lost reading is no gap


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterFacts:
    """What its profile says about a counter. All amounts in the counter's unit."""

    modulus: float | None = None  # it starts again from 0 at this value
    max_rate_per_h: float | None = None
    decimals: int = 3  # the resolution of its values
    period_s: float | None = None  # how often it is read

    @property
    def gap_ms(self) -> int:
        """Two readings farther apart than this leave open what happened when between them."""
        if self.period_s is None:
            return _UNKNOWN_GAP_MS
        return min(max(round(_PERIODS_IN_STEP * 1000 * self.period_s), _SHORTEST_GAP_MS), _LONGEST_STEP_MS)

    def quantum(self, value: float) -> float:
        """The smallest difference that means anything at this value.

        Many meters keep their counters as 32-bit floats, whose steps are 1 kWh wide at 10 000 000 kWh.
        """
        return 10.0**-self.decimals + abs(value) * _FLOAT32_STEP

    def is_too_fast(self, amount: float, duration_ms: int, value: float) -> bool:
        if self.max_rate_per_h is None:
            return False
        return amount > RATE_MARGIN * self.max_rate_per_h * duration_ms / HOUR_MS + self.quantum(value)

    def rolled_over(self, before: float, after: float, duration_ms: int) -> float | None:
        """What was used if the counter started again from 0; None when that cannot be."""
        if self.modulus is None:
            return None
        amount = after - before + self.modulus
        if self.max_rate_per_h is None:
            likely = amount <= UNDECLARED_ROLLOVER_SHARE * self.modulus
        else:
            likely = amount <= self.modulus / 2 and not self.is_too_fast(amount, duration_ms, before)
        return amount if likely and amount >= 0 else None


class Sample(NamedTuple):
    """A reading, as far as sums are concerned."""

    measured_ms: int
    value: float | None
    quality: Quality = Quality.GOOD


class NoticeKind(StrEnum):
    """What a person may want to know about a counter."""

    ROLLOVER = "rollover"  # recognised and counted
    RESET = "reset"  # it fell: started again, or another meter; that interval is left out
    TOO_FAST = "too-fast"  # it grew faster than the meter can count; that interval is left out
    GLITCH = "glitch"  # a few readings were too low and are ignored
    AMBIGUOUS = "ambiguous"  # a glitch or a reset, both possible; that interval is left out


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to a counter between two readings."""

    kind: NoticeKind
    start_ms: int
    end_ms: int
    before: float
    after: float


class Step(NamedTuple):
    """The way from one usable reading to the next. `amount` is None when it is not to be trusted."""

    start_ms: int
    end_ms: int
    amount: float | None


def usable(samples: Iterable[Sample]) -> list[tuple[int, float]]:
    """What sums may include, in order of time."""
    found: dict[int, float] = {}
    for measured_ms, value, quality in sorted(samples, key=lambda sample: sample[0]):
        if quality is Quality.GOOD and value is not None and math.isfinite(value):
            found.setdefault(measured_ms, value)
    return list(found.items())


def steps(readings: list[tuple[int, float]], facts: CounterFacts) -> tuple[list[Step], list[Notice]]:
    """Every step between the usable readings in order of time, and what is worth telling."""
    glitches = dict(_glitches(readings, facts))
    dropped = {i for (p, q) in glitches for i in range(p + 1, q)}
    kept = [i for i in range(len(readings)) if i not in dropped]
    found: list[Step] = []
    notices: list[Notice] = []

    def note(kind: NoticeKind, a: int, b: int) -> None:
        notices.append(Notice(kind, readings[a][0], readings[b][0], readings[a][1], readings[b][1]))

    for at, (a, b) in enumerate(pairwise(kept)):
        (start_ms, before), (end_ms, after) = readings[a], readings[b]
        amount: float | None = after - before
        glitch = glitches.get((a, b))
        if glitch is not None:
            note(glitch, a, b)
            if glitch is NoticeKind.AMBIGUOUS:
                amount = None
        elif after < before:
            wrapped = facts.rolled_over(before, after, end_ms - start_ms)
            if wrapped is not None:
                amount = wrapped
                note(NoticeKind.ROLLOVER, a, b)
            elif before - after <= facts.quantum(before):
                amount = 0.0
            else:
                amount = None
                if at and readings[kept[at - 1]][1] <= after:
                    # The reading before the fall stands out above both its neighbours: it is as likely
                    # to be wrong as the fall is to be real, so the way up to it is doubtful too.
                    found[-1] = found[-1]._replace(amount=None)
                if b + GLITCH_READINGS < len(readings):  # before that it may still turn out a glitch
                    note(NoticeKind.RESET, a, b)
        elif facts.is_too_fast(after - before, end_ms - start_ms, before):
            amount = None
            note(NoticeKind.TOO_FAST, a, b)
        found.append(Step(start_ms, end_ms, amount))
    return found, notices


def _glitches(
    readings: list[tuple[int, float]], facts: CounterFacts
) -> Iterator[tuple[tuple[int, int], NoticeKind]]:
    """Pairs of readings between which the counter fell, and came back as if nothing had happened.

    Of two such pairs one lies inside the other or they have nothing but an end in common: each ends with
    the first reading that reaches the value at its beginning.
    """
    for p in range(len(readings) - 2):
        start_ms, before = readings[p]
        if readings[p + 1][1] >= before:
            continue
        for q in range(p + 2, min(p + GLITCH_READINGS + 2, len(readings))):
            end_ms, after = readings[q]
            if after < before:
                continue
            if not facts.is_too_fast(after - before, end_ms - start_ms, before):
                lowest = min(value for _, value in readings[p + 1 : q])
                back_ms, back_from = readings[q - 1]
                could_be_real = facts.max_rate_per_h is not None and not facts.is_too_fast(
                    after - back_from, end_ms - back_ms, after
                )
                noise = before - lowest <= facts.quantum(before)
                kind = NoticeKind.AMBIGUOUS if could_be_real and not noise else NoticeKind.GLITCH
                yield (p, q), kind
            break
