"""The log of a controller: so many events, the oldest overwritten, found again by number or time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulators.access.people import Person


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the controller keeps it."""

    serial: int
    what: str
    major: int
    minor: int
    at_ms: int  # by the controller's own clock
    door: int | None
    person: Person | None


class Log:
    """Numbers what it is given from 1 on."""

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._last = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> int:
        """The highest number that was given."""
        return self._last

    def write(
        self, what: str, code: tuple[int, int], at_ms: int, door: int | None, person: Person | None
    ) -> Entry:
        self._last += 1
        entry = Entry(self._last, what, *code, at_ms, door, person)
        self._entries.append(entry)
        return entry

    def reset(self) -> None:
        """As new from the factory: empty, and the next number is 1."""
        self._entries.clear()
        self._last = 0

    def find(self, *, first: int, last: int | None) -> Iterator[Entry]:
        """Oldest first."""
        for entry in self._entries:
            if entry.serial >= first and (last is None or entry.serial <= last):
                yield entry

    def newest(self, count: int) -> list[Entry]:
        return list(self._entries)[-count:] if count else []
