"""Makes one finding of the flagged samples that belong together, and says it in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.anomaly.detect import Assessment, Why
from models.anomaly.grid import HOUR_S, Floats, Ints

Language = Literal["zh", "en"]

TOGETHER_S: Final = 3 * HOUR_S
"""Flagged samples at most this far apart are one finding."""

_WORDS: Final[dict[Why, tuple[str, str]]] = {
    Why.LEVEL: ("超出该时段的正常范围", "outside what is usual at that hour"),
    Why.SURPRISE: ("与前几小时的走势不符", "unlike what the hours before announced"),
    Why.HOURS: ("连续数小时偏离正常范围", "off for several hours on end"),
    Why.DAY: ("持续一天左右偏离正常水平", "off for about a day"),
    Why.STUCK: ("读数长时间完全不变", "exactly the same value for too long"),
    Why.ZERO: ("长时间为零", "zero for too long"),
    Why.NEGATIVE: ("出现负值", "negative"),
    Why.AFTER_LOSS: ("数据中断后恢复", "data were lost before it"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was expected of a meter over some time, and what was seen instead."""

    start_s: int  # first flagged sample, seconds as they were given
    end_s: int  # end of the last one
    score: float
    expected: float  # sums over the flagged samples
    seen: float
    why: tuple[Why, ...]  # the strongest first

    @property
    def excess(self) -> float:
        """Negative when less was seen than expected."""
        return self.seen - self.expected

    def title(self, language: Language) -> str:
        high = self.excess >= 0
        if language == "zh":
            return "用量异常偏高" if high else "用量异常偏低"
        return "Unusually high use" if high else "Unusually low use"

    def text(self, language: Language, unit: str) -> str:
        reasons = [_WORDS[why][0 if language == "zh" else 1] for why in self.why]
        hours = (self.end_s - self.start_s) / HOUR_S
        if language == "zh":
            return (
                f"{hours:g} 小时内预期 {_amount(self.expected)} {unit}，实际 {_amount(self.seen)} {unit}，"
                f"相差 {_amount(self.excess, signed=True)} {unit}：{'，'.join(reasons)}。"
            )
        return (
            f"In {hours:g} h {_amount(self.expected)} {unit} were expected and {_amount(self.seen)} {unit} "
            f"seen, a difference of {_amount(self.excess, signed=True)} {unit}: {'; '.join(reasons)}."
        )


def _amount(value: float, *, signed: bool = False) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"


def findings(timestamps: Ints, values: Floats, found: Assessment, *, interval_s: int) -> list[Finding]:
    """One finding for each run of flagged samples."""
    flagged = np.flatnonzero(found.flags)
    if not len(flagged):
        return []
    breaks = np.flatnonzero(np.diff(timestamps[flagged]) > TOGETHER_S) + 1
    return [_finding(timestamps, values, found, part, interval_s) for part in np.split(flagged, breaks)]


def _finding(
    timestamps: Ints, values: Floats, found: Assessment, part: NDArray[np.intp], interval_s: int
) -> Finding:
    known = part[np.isfinite(found.expected[part])]
    return Finding(
        start_s=int(timestamps[part[0]]),
        end_s=int(timestamps[part[-1]]) + interval_s,
        score=float(found.scores[part].max()),
        expected=float(found.expected[known].sum()),
        seen=float(values[known].sum()),
        why=_reasons(found, part),
    )


def _reasons(found: Assessment, part: Sequence[int] | NDArray[np.intp]) -> tuple[Why, ...]:
    strongest: dict[Why, float] = {}
    for index in part:
        why = Why(int(found.why[index]))
        strongest[why] = max(strongest.get(why, 0.0), float(found.scores[index]))
    return tuple(sorted(strongest, key=lambda why: -strongest[why]))
