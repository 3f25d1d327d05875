"""A clock that runs through weeks in a minute, the same in every process that is given its `Pace`.

It is made from the machine's monotonic clock, which all processes share, by a line of straight pieces:
so many simulated seconds pass in each real second until the next piece begins.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from models.times import Clock


class Leg(msgspec.Struct, frozen=True):
    """From `after_s` simulated seconds on, `speed` simulated seconds pass in each real second."""

    after_s: float
    speed: float


class Pace(msgspec.Struct, frozen=True):
    """When simulated time begins, in real and simulated terms, and how fast it goes."""

    real_start_s: float  # of CLOCK_MONOTONIC
    start_ms: int  # simulated, since 1970 UTC
    legs: tuple[Leg, ...]

    def encode(self) -> str:
        """As an argument of another process."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> "Pace":
        return msgspec.json.decode(text, type=cls)


@dataclass(frozen=True, slots=True)
class _Piece:
    simulated_s: float
    real_s: float
    speed: float


class FastClock:
    """Simulated time as a function of real time, and back."""

    def __init__(self, pace: Pace) -> None:
        self._start_ms = pace.start_ms
        self._pieces = _pieces(pace)

    def simulated_s(self, real_s: float) -> float:
        """How much simulated time has passed at a real (monotonic) time; 0 before its beginning."""
        real_s = max(real_s, self._pieces[0].real_s)
        piece = next((p for p in reversed(self._pieces) if p.real_s <= real_s), self._pieces[0])
        return piece.simulated_s + (real_s - piece.real_s) * piece.speed

    def real_s(self, simulated_s: float) -> float:
        """The real (monotonic) time at which so much simulated time has passed."""
        piece = next((p for p in reversed(self._pieces) if p.simulated_s <= simulated_s), self._pieces[0])
        return piece.real_s + (simulated_s - piece.simulated_s) / piece.speed

    def elapsed_s(self) -> float:
        return self.simulated_s(time.monotonic())

    async def sleep(self, seconds: float) -> None:
        due = self.real_s(self.elapsed_s() + seconds)
        await asyncio.sleep(max(0.0, due - time.monotonic()))

    def clock(self) -> Clock:
        return Clock(
            now_ms=lambda: self._start_ms + round(self.elapsed_s() * 1000),
            monotonic_s=self.elapsed_s,
            sleep=self.sleep,
        )


def _pieces(pace: Pace) -> Sequence[_Piece]:
    pieces: list[_Piece] = []
    real_s = pace.real_start_s
    for leg in pace.legs:
        if pieces:
            real_s += (leg.after_s - pieces[-1].simulated_s) / pieces[-1].speed
        pieces.append(_Piece(leg.after_s, real_s, leg.speed))
    return pieces
