"""Keeps how far the log of a controller was taken, so that each of its events is taken exactly once. Pure.

A controller numbers its events 1, 2, 3, … Nearly always they arrive in this order; some are lost, late or
twice. So what is known is a number up to which everything was taken, and a few ranges above it. Between them
are holes, which the log fills. After a factory reset the numbers begin at 1 again: another `numbering`.
"""

from bisect import bisect_right
from enum import Enum, auto
from typing import Final

import msgspec

MOST_RANGES: Final = 256
"""Above the gap-free part. More holes than this only someone makes who wants to: then only the log counts."""

_PRINTS_KEPT: Final = 256  # of events that may arrive a second time
_PUSH_AND_LOG_MS: Final = 60_000

Print = tuple[int, int, int, int]
"""What tells an event from another one with the same number: when it happened, in ms since 1970, by a clock
how many minutes before UTC, and its major and minor code."""


class Look(Enum):
    """What is known of an event."""

    NEW = auto()
    KNOWN = auto()
    OTHER = auto()  # its number was taken, it seems by another event: the log must tell


class _Note(msgspec.Struct, omit_defaults=True):
    """What is stored."""

    upto: int = 0
    above: list[tuple[int, int]] = []
    numbering: int = 0
    anchor: int = 0
    print: Print | None = None  # of the event `anchor`


class LogPosition:
    """What was taken of one log."""

    def __init__(self) -> None:
        self.upto = 0  # everything up to here
        self.above: list[tuple[int, int]] = []  # and these, both ends included, in order, with holes between
        self.numbering = 0  # how often the numbers began again
        self.anchor = 0  # an event that the log had when it was read last; by it the log is known again
        self._prints: dict[int, Print] = {}
        self._newest_ms = 0

    @classmethod
    def from_text(cls, text: str) -> "LogPosition":
        """What `text` gave; a new one for "" and for what is no such text."""
        position = cls()
        if not text:
            return position
        try:
            note = msgspec.json.decode(text, type=_Note)
        except msgspec.MsgspecError:  # it was damaged: better take all of the log again than nothing
            return position
        position.upto, position.above, position.numbering = note.upto, note.above, note.numbering
        if note.print is not None:
            position.anchor = note.anchor
            position._note(note.anchor, note.print)
        return position

    def text(self) -> str:
        """All of it that must survive, for a mark."""
        anchor = self.known_by
        note = _Note(self.upto, self.above, self.numbering, anchor, self._prints.get(anchor))
        return msgspec.json.encode(note).decode()

    @property
    def known_by(self) -> int:
        """The event by which the log is known again; 0: none yet."""
        return self.anchor or self.upto

    @property
    def highest(self) -> int:
        return self.above[-1][1] if self.above else self.upto

    @property
    def holes(self) -> list[tuple[int, int]]:
        """The numbers below the highest that were not taken, both ends included."""
        ends = [self.upto, *(last for _, last in self.above)]
        return [(end + 1, first - 1) for end, (first, _) in zip(ends, self.above, strict=False)]

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many holes that nothing above them is taken before the log was read."""
        return len(self.above) >= MOST_RANGES

    def look(self, serial: int, print_: Print) -> Look:
        """Whether the event must be taken."""
        if not self.has(serial):
            return Look.NEW
        known = self._prints.get(serial)
        if known is None:  # so long ago that nothing else is known of it; then it cannot be the newest
            return Look.OTHER if print_[0] > self._newest_ms else Look.KNOWN
        return Look.KNOWN if same(known, print_) else Look.OTHER

    def has(self, serial: int) -> bool:
        if serial <= self.upto:
            return True
        at = bisect_right(self.above, serial, key=lambda range_: range_[0]) - 1
        return at >= 0 and serial <= self.above[at][1]

    def take(self, serial: int, print_: Print) -> None:
        """Note an event as taken; it was NEW."""
        self._note(serial, print_)
        self._join(serial, serial)

    def give_up(self, first: int, last: int) -> None:
        """Note that these events will never come."""
        self._join(first, last)

    def drop_anchor(self) -> None:
        """The log was read, and has the newest event that is known."""
        self.anchor = max((serial for serial in self._prints if serial <= self.upto), default=0)

    def begin_again(self) -> None:
        """The controller numbers its events from 1 again."""
        self.upto, self.above, self.anchor = 0, [], 0
        self.numbering += 1
        self._prints.clear()
        self._newest_ms = 0

    def print_of(self, serial: int) -> Print | None:
        """Of an event that was taken; None: so long ago that it is not known any more."""
        return self._prints.get(serial)

    def _note(self, serial: int, print_: Print) -> None:
        self._prints[serial] = print_
        self._newest_ms = max(self._newest_ms, print_[0])
        if len(self._prints) > 2 * _PRINTS_KEPT:
            kept = sorted(self._prints)[-_PRINTS_KEPT:]
            self._prints = {
                number: self._prints[number] for number in {*kept, self.anchor} & set(self._prints)
            }

    def _join(self, first: int, last: int) -> None:
        at = bisect_right(self.above, first, key=lambda range_: range_[0])
        self.above.insert(at, (first, last))
        joined = [(0, self.upto)]
        for low, high in self.above:
            if low <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], high))
            else:
                joined.append((low, high))
        self.upto, self.above = joined[0][1], joined[1:]


def same(one: Print, other: Print) -> bool:
    """Whether two prints are of one event.

    The log may have it some seconds later than the push. When the time zone of a controller is changed, some
    show their old events at the same moment, and some at the same time of the day.
    """
    if one[2:] != other[2:]:
        return False
    if 0 in (one[0], other[0]):
        return True
    apart_ms = one[0] - other[0]
    on_the_wall_ms = apart_ms + 60_000 * (one[1] - other[1])
    return min(abs(apart_ms), abs(on_the_wall_ms)) <= _PUSH_AND_LOG_MS
