"""Finds the times in which a counter used more or less than its past lets expect."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.insight.devices import Device, Hours
from models.anomaly import Finding, Why, assess, findings
from models.times import HOUR_MS

LEAST_ODD_H: Final = 2  # one odd hour may be anything
ODD_ALONE: Final = 1.5  # unless it is far too much
OVER_H: Final = 24
"""So many usual hours end an alert: a fault that shows at night only is one fault."""

_NOT_CONSUMPTION: Final = (Why.STUCK, Why.AFTER_LOSS, Why.NEGATIVE)  # faults of meter and data
_KINDS: Final = {"01": "electricity", "02": "water", "03": "gas", "04": "heat", "05": "cold"}


@dataclass(frozen=True, slots=True)
class Episode:
    """Odd hours of one counter that belong together."""

    hours: Hours
    finding: Finding
    start_ms: int
    end_ms: int
    usual_hours_since: int

    @property
    def is_over(self) -> bool:
        return self.usual_hours_since >= OVER_H


def episodes(device: Device, hours: Hours, *, zeros_are_real: bool) -> list[Episode]:
    """All of the last months, oldest first.

    Hours in which the counter stands still, and the first hour after them, are left out: whether the meter
    is stuck is for another detector to say. It says that the zeros are real when the load is off.
    """
    local_s = device.local_s(hours)
    found = assess(local_s, hours.value, kind=_KINDS.get((hours.item_code or "")[:2], "electricity"))
    odd = found.flags & ~np.isin(found.why, _NOT_CONSUMPTION) & ~_left_out(hours, zeros_are_real)
    found.flags[:] = odd
    result = []
    for finding in findings(local_s, hours.value, found, interval_s=3600):
        first, last = np.searchsorted(local_s, [finding.start_s, finding.end_s - 1], side="right") - 1
        count = int(odd[first : last + 1].sum())
        if count < LEAST_ODD_H and (finding.score < ODD_ALONE or finding.excess < 0):
            continue
        result.append(
            Episode(
                hours=hours,
                finding=finding,
                start_ms=int(hours.hour_ms[first]),
                end_ms=int(hours.hour_ms[last]) + HOUR_MS,
                usual_hours_since=int((~np.isnan(hours.value[last + 1 :])).sum()),
            )
        )
    return result


def _left_out(hours: Hours, zeros_are_real: bool) -> NDArray[np.bool_]:
    still = hours.is_still()
    if zeros_are_real:
        # Only the stillness that goes on was looked into.
        moving = np.flatnonzero(~still)
        still[(int(moving[-1]) + 1 if len(moving) else 0) :] = False
    after = np.concatenate([[False], still[:-1]])
    result: NDArray[np.bool_] = still | after
    return result
