"""A clock that runs through weeks in a minute, the same in every process that is given its `Pace`.

It is made from the machine's monotonic clock, which all processes share, by a line of straight pieces:
so many simulated seconds pass in each real second until the next piece begins. It stands still until
somebody writes the real time of its beginning into the pace's file.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.times import Clock

_LOOK_EVERY_S = 0.05  # for the beginning


class Leg(msgspec.Struct, frozen=True):
    """From `after_s` simulated seconds on, `speed` simulated seconds pass in each real second."""

    after_s: float
    speed: float


class Pace(msgspec.Struct, frozen=True):
    """When simulated time begins, in real and simulated terms, and how fast it goes."""

    start_file: (
        str  # once it has begun: the real time of the beginning, of CLOCK_MONOTONIC, and the simulated
    )
    start_ms: int  # simulated, since 1970 UTC
    legs: tuple[Leg, ...]

    def encode(self) -> str:
        """As an argument of another process."""
        return msgspec.json.encode(self).decode()

    def begin(self, now_ms: int | None = None) -> None:
        """Let simulated time begin now, in every process; it is then `now_ms`, if not `start_ms`."""
        file = Path(self.start_file)
        new = file.with_suffix(".new")
        new.write_text(f"{time.monotonic()!r} {self.start_ms if now_ms is None else now_ms}")
        new.rename(file)

    @classmethod
    def decode(cls, text: str) -> "Pace":
        return msgspec.json.decode(text, type=cls)


@dataclass(frozen=True, slots=True)
class _Piece:
    simulated_s: float
    real_s: float  # since the beginning
    speed: float


class FastClock:
    """Simulated time as a function of real time, and back; both in seconds since the beginning."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._pieces = _pieces(pace)
        self._real_start_s: float | None = None
        self._start_ms = pace.start_ms

    def simulated_s(self, real_s: float) -> float:
        """How much simulated time has passed after so much real time."""
        piece = next(p for p in reversed(self._pieces) if p.real_s <= max(real_s, 0.0))
        return piece.simulated_s + (max(real_s, 0.0) - piece.real_s) * piece.speed

    def real_s(self, simulated_s: float) -> float:
        """After how much real time so much simulated time has passed."""
        piece = next(p for p in reversed(self._pieces) if p.simulated_s <= max(simulated_s, 0.0))
        return piece.real_s + (simulated_s - piece.simulated_s) / piece.speed

    def elapsed_s(self) -> float:
        """Simulated seconds since the beginning; 0 before it."""
        if (start_s := self._start()) is None:
            return 0.0
        return self.simulated_s(time.monotonic() - start_s)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many simulated seconds."""
        due_s = self.real_s(self.elapsed_s() + seconds)
        while (start_s := self._start()) is None:  # noqa: ASYNC110  # another process writes the file
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.sleep(max(0.0, start_s + due_s - time.monotonic()))

    def clock(self) -> Clock:
        return Clock(
            now_ms=self._now_ms,
            monotonic_s=self.elapsed_s,
            sleep=self.sleep,
        )

    def _start(self) -> float | None:
        if self._real_start_s is None:
            with contextlib.suppress(FileNotFoundError):
                real_s, start_ms = Path(self._pace.start_file).read_text().split()
                self._real_start_s, self._start_ms = float(real_s), int(start_ms)
        return self._real_start_s

    def _now_ms(self) -> int:
        elapsed_s = self.elapsed_s()  # reads the file, if it is there now
        return self._start_ms + round(elapsed_s * 1000)


def _pieces(pace: Pace) -> Sequence[_Piece]:
    pieces: list[_Piece] = []
    real_s = 0.0
    for leg in pace.legs:
        if pieces:
            real_s += (leg.after_s - pieces[-1].simulated_s) / pieces[-1].speed
        pieces.append(_Piece(leg.after_s, real_s, leg.speed))
    return pieces
