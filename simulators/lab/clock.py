"""A system clock that jumps, drifts or has forgotten the date, for one process and from outside of it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from models.errors import BadInput
from models.times import Clock


class Wrong(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a system clock shows: the true time, and so much more. Times are milliseconds since 1970."""

    by_ms: float = 0.0
    ppm: float = 0.0  # millionths that it runs too fast
    since_ms: float = 0.0  # true time since which it does

    def shown_ms(self, true_ms: float) -> float:
        return true_ms + self.by_ms + (true_ms - self.since_ms) * self.ppm / 1e6

    def stepped(self, by_ms: float) -> "Wrong":
        return msgspec.structs.replace(self, by_ms=self.by_ms + by_ms)

    def drifting(self, ppm: float, true_ms: float) -> "Wrong":
        """From now on at another rate; what it shows now does not jump."""
        return Wrong(self.shown_ms(true_ms) - true_ms, ppm, true_ms)


RIGHT = Wrong()


class ControlMistake(BadInput):
    """A control file that says nothing that a clock could do."""


def set_wrong(control: Path, wrong: Wrong) -> None:
    """Let the clock of the process that watches `control` be wrong in this way from now on."""
    new = control.with_name(control.name + ".new")
    new.write_bytes(msgspec.json.encode(wrong))
    new.rename(control)


class WatchedFile:
    """Reads how wrong the clock is from a file that may come, change and go."""

    def __init__(self, control: Path) -> None:
        self._control, self._stamp, self._wrong = control, (0, 0), RIGHT

    def __call__(self) -> Wrong:
        """Raise ControlMistake."""
        try:
            status = self._control.stat()
        except FileNotFoundError:
            return self._wrong
        if (stamp := (status.st_mtime_ns, status.st_ino)) != self._stamp:
            self._stamp = stamp
            try:
                self._wrong = msgspec.json.decode(self._control.read_bytes(), type=Wrong)
            except msgspec.MsgspecError as err:
                known = ", ".join(Wrong.__struct_fields__)
                raise ControlMistake(f"{self._control}: {err}; a clock knows {known}") from err
        return self._wrong


def wrong_clock(true: Clock, how: Callable[[], Wrong]) -> Clock:
    """A system clock that is wrong. Its monotonic clock and its sleep are right, as those of a kernel are."""
    return Clock(
        now_ms=lambda: round(how().shown_ms(true.now_ms())), monotonic_s=true.monotonic_s, sleep=true.sleep
    )


@contextlib.contextmanager
def wrong_system_clock(how: Callable[[], Wrong]) -> Iterator[None]:
    """What `time.time` and `time.time_ns` tell this process, whoever asks in Python."""
    true_ns, true_s = time.time_ns, time.time

    def shown_ns() -> int:
        return round(how().shown_ms(true_ns() / 1e6) * 1e6)

    time.time_ns, time.time = shown_ns, lambda: shown_ns() / 1e9
    try:
        yield
    finally:
        time.time_ns, time.time = true_ns, true_s
