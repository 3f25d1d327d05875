"""Decides when a silent radio is to be woken, and how hard. Pure.

BlueZ stops discovering without a word (bluez 1554), and adapters lose their power (bleak 887). So after a
silence the scanner is built anew, after another one the adapter is switched off and on, and then again
after pauses that double: where nothing helps, no storm does.
"""

from enum import Enum, auto
from typing import Final

SILENCE_S: Final = 90.0
LONGEST_PAUSE_S: Final = 3600.0


class Step(Enum):
    """What is done about a silence."""

    REBUILD = auto()
    RESET = auto()


class Vigil:
    """Watches one radio. All times are monotonic seconds."""

    def __init__(self, shortest_period_s: float) -> None:
        """`shortest_period_s`: how long all devices together may be silent while all is well."""
        self._least_s = max(SILENCE_S, shortest_period_s)
        self._steps = 0
        self._since_s = float("-inf")

    def started(self, now_s: float) -> None:
        """The scanner is new: it has not been silent yet."""
        self._since_s = now_s

    def heard(self, now_s: float) -> None:
        """Something was received, of any device."""
        self._since_s, self._steps = now_s, 0

    @property
    def due_s(self) -> float:
        """When the next step is to be taken, if nothing is heard until then."""
        return self._since_s + min(max(LONGEST_PAUSE_S, self._least_s), self._least_s * self._factor)

    def step(self, now_s: float) -> Step | None:
        """What is to be done now."""
        if now_s < self.due_s:
            return None
        self._steps += 1
        return Step.REBUILD if self._steps == 1 else Step.RESET

    @property
    def _factor(self) -> int:
        """1 before the rebuild and before the first reset, then 2, 4, …"""
        return 1 << min(20, max(0, self._steps - 1))
