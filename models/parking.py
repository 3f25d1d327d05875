"""What is known of a parking bay: whether a car stands in it, since when, and how sure that is.

A bay is never taken to be free because nobody says otherwise: who is silent is unknown, and a sensor that
says of itself that it cannot tell puts its bay out of service. What arrives late changes nothing.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec


class BayState(StrEnum):
    FREE = "free"
    OCCUPIED = "occupied"
    UNKNOWN = "unknown"  # nobody has said anything for too long, or ever
    OUT_OF_SERVICE = "out_of_service"  # its sensor says that it cannot tell


class Debounce(NamedTuple):
    """What it takes to believe a change: so many observations in a row, over at least so long."""

    times: int = 1
    seconds: float = 0.0


AT_ONCE: Final = Debounce()


class Bay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One bay. Each method gives the bay as it is afterwards."""

    state: BayState = BayState.UNKNOWN
    since_ms: int = 0  # when the state was first observed; 0: it never was
    confidence: float = 0.0  # 1: observed; 0.5: by a value that is SUSPECT; 0: nobody knows
    measured_ms: int | None = None  # of the newest observation
    received_ms: int | None = None
    turning: BayState | None = None  # what the newest observations say, while that is not believed yet
    turning_ms: int = 0  # the first of them
    turning_times: int = 0

    def is_history(self, measured_ms: int, received_ms: int) -> bool:
        """Whether an observation comes too late to say anything about the present.

        Who measured it earlier than the newest, but is received before it, speaks after a step of the clock.
        """
        if self.measured_ms is None or self.received_ms is None:
            return False
        return measured_ms <= self.measured_ms and received_ms >= self.received_ms

    def observed(
        self,
        state: BayState,
        measured_ms: int,
        received_ms: int,
        *,
        confidence: float = 1.0,
        debounce: Debounce = AT_ONCE,
    ) -> "Bay":
        """After one observation, which is free, occupied or out_of_service."""
        if self.is_history(measured_ms, received_ms):
            return self
        heard = msgspec.structs.replace(self, measured_ms=measured_ms, received_ms=received_ms)
        if state is self.state:
            return heard._settled(state, self.since_ms, confidence)
        if self.state is BayState.UNKNOWN:  # there is nothing to hold against it
            return heard._settled(state, measured_ms, confidence)
        goes_on = self.turning is state and self.turning_ms <= measured_ms
        first_ms = self.turning_ms if goes_on else measured_ms
        times = self.turning_times + 1 if goes_on else 1
        if times >= debounce.times and measured_ms - first_ms >= 1000 * debounce.seconds:
            return heard._settled(state, first_ms, confidence)
        return msgspec.structs.replace(heard, turning=state, turning_ms=first_ms, turning_times=times)

    def lost(self, at_ms: int) -> "Bay":
        """After too long a silence."""
        if self.state is BayState.UNKNOWN:
            return self
        return self._settled(BayState.UNKNOWN, at_ms, 0.0)

    def _settled(self, state: BayState, since_ms: int, confidence: float) -> "Bay":
        return msgspec.structs.replace(
            self,
            state=state,
            since_ms=since_ms,
            confidence=confidence,
            turning=None,
            turning_ms=0,
            turning_times=0,
        )


def counted(states: Iterable[BayState]) -> dict[BayState, int]:
    """How many are in each state. The counts are together as many as the states given."""
    counts = dict.fromkeys(BayState, 0)
    for state in states:
        counts[state] += 1
    return counts


def bay_of(point: str) -> str | None:
    """The bay that a point tells of: "bay_01" of "bay_01_occupied", "" of "occupied"; None: of no bay."""
    if point == "occupied":
        return ""
    return point.removesuffix("_occupied") if point.endswith("_occupied") else None
