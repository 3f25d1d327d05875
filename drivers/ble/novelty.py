"""Tells whether a frame of one device is new, and keeps over restarts what that takes, as marks."""

import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from drivers.ble.frames import Frame
from drivers.ble.replay import CounterGuard, Judged, Verdict
from drivers.ble.seen import Seen

RECENT: Final = 16
"""Frames without a proof that are known again; a radio stack repeats the last one or two."""

_log = logging.getLogger(__name__)

T = TypeVar("T")
N = TypeVar("N", bound=msgspec.Struct)


class _CounterNote(msgspec.Struct):
    """The mark `counter`: how far the counter of a device has been taken."""

    of: str  # stands for address and key; another device in its place begins anew
    first: int
    last: int
    past: list[tuple[int, int]]
    seen: list[int]
    identity: str


class _RecentNote(msgspec.Struct):
    """The mark `recent`: the last frames without a proof, the newest last."""

    of: str
    frames: list[str]
    taken_ms: int


class Novelty(Generic[T]):
    """What one device has said already. What is judged is carried along as `T`."""

    def __init__(self, device_id: str, fingerprint: str, *, period_s: float, wait_s: float) -> None:
        self._prefix, self._of = f"ble/{device_id}/", fingerprint
        self._period_s, self._wait_s = period_s, wait_s
        self._guard: CounterGuard[T] = CounterGuard(Seen(self._prefix + "seen/"), wait_s=wait_s)
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._taken_ms = 0

    @property
    def first_counter(self) -> int | None:
        """Of the present life."""
        return self._guard.first

    def restore(self, marks: Mapping[str, str]) -> None:
        """Go on from the marks of an earlier run; those of another device or another key do not count."""
        counter = self._note(marks, "counter", _CounterNote)
        if counter is not None and counter.of == self._of and len(counter.seen) == 2:
            seen = Seen.restored(self._prefix + "seen/", counter.seen, marks)
            guard: CounterGuard[T] = CounterGuard(seen, wait_s=self._wait_s)
            guard.restore(counter.first, counter.last, counter.past, counter.identity.encode())
            self._guard = guard
        recent = self._note(marks, "recent", _RecentNote)
        if recent is not None and recent.of == self._of:
            self._recent.extend(recent.frames)
            self._taken_ms = recent.taken_ms

    def judge(self, frame: Frame, what: T, now_ms: int, now_s: float) -> Judged[T]:
        """Judge a frame; `marks` of the verdict go to the sink together with what is new in it."""
        identity = hashlib.blake2b(frame.identity, digest_size=12).hexdigest()
        if frame.counter is None:
            return self._judge_unproven(identity, frame.is_numbered, what, now_ms)
        judged = self._guard.judge(frame.counter, identity.encode(), what, now_s)
        if judged.taken:
            judged.marks[self._prefix + "counter"] = self._counter_note(identity)
        return judged

    def _judge_unproven(self, identity: str, is_numbered: bool, what: T, now_ms: int) -> Judged[T]:
        """A numbered frame is known by itself. Another one is the same only while it lasts: one of the same
        values a period later is another measurement."""
        known = identity in self._recent if is_numbered else identity in list(self._recent)[-1:]
        is_recent = is_numbered or abs(now_ms - self._taken_ms) < 1000 * self._period_s
        if known and is_recent:
            return Judged(Verdict.REPEATED)
        verdict = Verdict.NEXT if self._recent else Verdict.FIRST
        self._recent.append(identity)
        self._taken_ms = now_ms
        note = _RecentNote(self._of, list(self._recent), now_ms)
        return Judged(verdict, [what], marks={self._prefix + "recent": _text(note)})

    def _counter_note(self, identity: str) -> str:
        guard = self._guard
        first, last = guard.first or 0, guard.last or 0
        return _text(_CounterNote(self._of, first, last, guard.past, guard.seen.state, identity))

    def _note(self, marks: Mapping[str, str], name: str, model: type[N]) -> N | None:
        text = marks.get(self._prefix + name)
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=model)
        except msgspec.MsgspecError as err:  # of a version to come, or damaged
            _log.warning("%s%s cannot be read and counts as not there: %s", self._prefix, name, err)
            return None


def fingerprint(address: str, key: bytes | None) -> str:
    """Stands for an address and a key in a mark, and tells nobody the key."""
    return hashlib.blake2b(address.encode() + b"\0" + (key or b""), digest_size=6).hexdigest()


def _text(note: Any) -> str:
    return msgspec.json.encode(note).decode()
