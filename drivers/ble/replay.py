"""Tells new frames from old ones by the counter that a device proves to have sent.

A *life* is the time in which a counter only grows; it ends with a change of battery or when the counter is
full. Frames of another life are held until it is certain that a new one has begun: see decision 11.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from drivers.ble.seen import Seen

PROOF_FRAMES: Final = 3
"""New frames in a row, each with a higher counter, before another life is believed in."""

STRIDE: Final = 256
"""How far a counter may go on at once through numbers that an earlier life has had."""

MOST_HELD: Final = 256
_MOST_LIVES: Final = 8
_COMPARED: Final = 512  # frames of the present life whose content is known
_NEAR: Final = 16  # how far apart two frames of one life are that follow each other, when some are lost

T = TypeVar("T")


class Verdict(Enum):
    """What a proven frame is."""

    FIRST = auto()  # nothing was known of the device
    NEXT = auto()  # new, and the counter has grown
    REPEATED = auto()  # the frame that was taken last, heard again
    REPLAYED = auto()  # an old one
    HELD = auto()  # perhaps the beginning of another life; the silence of this one will tell
    NEW_LIFE = auto()  # another life has begun, with this frame and those that were held


@dataclass(slots=True)
class Judged(Generic[T]):
    """A verdict with what follows from it."""

    verdict: Verdict
    taken: list[T] = field(default_factory=list)  # what is new now, in the order in which it came
    dropped: int = 0  # frames that were held and that turned out to be old, or were too many
    marks: dict[str, str] = field(default_factory=dict)
    before: int | None = None  # the last counter of the life that has ended


@dataclass(slots=True)
class _Candidate(Generic[T]):
    began_s: float
    first: int
    last: int
    frames: int = 0
    held: list[tuple[bytes, T]] = field(default_factory=list)
    dropped: int = 0
    is_other: bool = False  # it has sent a counter of the present life with another content


class CounterGuard(Generic[T]):
    """The counter of one device. What is judged is carried along as `T`.

    `wait_s`: how long the present life must be silent before another one is believed in.
    """

    def __init__(self, seen: Seen, *, wait_s: float) -> None:
        self._seen, self._wait_s = seen, wait_s
        self.first: int | None = None  # of the present life
        self.last: int | None = None
        self.past: list[tuple[int, int]] = []  # first and last counters of earlier lives
        self._last_identity = b""
        self._last_s = float("-inf")
        self._candidate: _Candidate[T] | None = None
        self._content: dict[int, bytes] = {}  # by counter, of the present life

    @property
    def seen(self) -> Seen:
        return self._seen

    def restore(self, first: int, last: int, past: list[tuple[int, int]], identity: bytes) -> None:
        """Go on from where an earlier run has come to."""
        self.first, self.last, self.past = first, last, _joined(past)
        self._last_identity = identity

    def judge(self, counter: int, identity: bytes, what: T, now_s: float) -> Judged[T]:
        """Judge a frame that is proven to be the device's own. `now_s` never goes back."""
        if self.last is None:
            return self._take(Verdict.FIRST, counter, identity, what, now_s)
        if identity == self._last_identity:
            return Judged(Verdict.REPEATED)
        if self._goes_on(counter) and not self._follows_another_life(counter):
            if self._was_lived(counter) and self._seen.has(identity):
                return Judged(Verdict.REPLAYED)
            return self._take(Verdict.NEXT, counter, identity, what, now_s)
        if self._seen.has(identity):
            return Judged(Verdict.REPLAYED)
        return self._hold(counter, identity, what, now_s)

    def _goes_on(self, counter: int) -> bool:
        """Whether the counter has grown, and not into what an earlier life has had, except step by step."""
        last = -1 if self.last is None else self.last
        return counter > last and (counter - last <= STRIDE or not self._was_lived(counter))

    def _follows_another_life(self, counter: int) -> bool:
        """Whether a frame that could be of the present life comes right after frames that cannot be.

        So a life that was young when the battery was changed is overtaken by the next one.
        """
        candidate = self._candidate
        return candidate is not None and candidate.is_other and 0 < counter - candidate.last <= _NEAR

    def _was_lived(self, counter: int) -> bool:
        return any(first <= counter <= last for first, last in self.past)

    def _take(self, verdict: Verdict, counter: int, identity: bytes, what: T, now_s: float) -> Judged[T]:
        dropped = self._give_up()
        if self.first is None:
            self.first = counter
        self.last, self._last_identity, self._last_s = counter, identity, now_s
        self._content[counter] = identity
        if len(self._content) > _COMPARED:
            del self._content[next(iter(self._content))]
        return Judged(verdict, [what], dropped, self._seen.add(identity))

    def _give_up(self) -> int:
        """The present life goes on: what was held was not the beginning of another."""
        candidate, self._candidate = self._candidate, None
        return 0 if candidate is None else candidate.frames

    def _hold(self, counter: int, identity: bytes, what: T, now_s: float) -> Judged[T]:
        dropped = 0
        candidate = self._candidate
        if candidate is not None and any(identity == known for known, _ in candidate.held):
            return Judged(Verdict.REPEATED)
        if candidate is None or counter <= candidate.last:
            dropped = self._give_up()
            candidate = self._candidate = _Candidate(now_s, counter, counter)
        candidate.is_other |= self._content.get(counter, identity) != identity
        candidate.last = counter
        candidate.frames += 1
        candidate.held.append((identity, what))
        if len(candidate.held) > MOST_HELD:
            del candidate.held[0]
            candidate.dropped += 1
        silent_s = now_s - max(candidate.began_s, self._last_s)
        if candidate.frames < PROOF_FRAMES or silent_s < self._wait_s:
            return Judged(Verdict.HELD, dropped=dropped)
        return self._begin(candidate, now_s, dropped)

    def _begin(self, candidate: _Candidate[T], now_s: float, dropped: int) -> Judged[T]:
        self._candidate = None
        before = self.last
        if self.first is not None and before is not None:
            self.past = _joined([*self.past, (self.first, before)])
        self.first, self.last, self._last_s = candidate.first, candidate.last, now_s
        self._last_identity = candidate.held[-1][0]
        self._content = {candidate.last: self._last_identity}
        marks: dict[str, str] = {}
        for identity, _ in candidate.held:
            marks |= self._seen.add(identity)
        taken = [what for _, what in candidate.held]
        return Judged(Verdict.NEW_LIFE, taken, dropped + candidate.dropped, marks, before)


def _joined(lives: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in as few ranges as there are, or a few more numbers when those are too many."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(lives):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    while len(joined) > _MOST_LIVES:
        gaps = [(joined[at + 1][0] - joined[at][1], at) for at in range(len(joined) - 1)]
        _, at = min(gaps)
        joined[at : at + 2] = [(joined[at][0], joined[at + 1][1])]
    return joined
