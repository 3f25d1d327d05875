"""Tells new uplinks of a device from late and repeated ones, by frame counter and id, also over restarts.

The counter counts within a session, which a join begins anew with another device address. The memory of the
session before stays, so that what was under way then is still told from what came already. A device without
joins begins again at 0 after a reset; a counter of 16 bits begins again at 0 after 65535.
"""

from enum import Enum
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta

WINDOW: Final = 256
"""How far behind the newest an uplink may come and still be told from a repetition. Brokers keep the order,
and radio networks are late by seconds: three would do."""

RECENT_IDS: Final = 32
_ROUND: Final = 1 << 16


class Verdict(Enum):
    NEW = "new"
    LATE = "late"  # older than the newest, and not seen before
    REPEATED = "repeated"
    TOO_OLD = "too old"  # nobody can say whether it was seen before


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was heard between two joins. Bit n of `seen`, in hex: the uplink n before the newest."""

    address: str
    newest: int = -1
    time_ms: int | None = None  # of the newest, by the network server
    seen: Annotated[str, Meta(pattern="^[0-9a-f]{1,64}$")] = "0"

    def has(self, count: int) -> bool:
        return bool(int(self.seen, 16) >> (self.newest - count) & 1)

    def with_newest(self, count: int, time_ms: int | None) -> "Session":
        seen = int(self.seen, 16) << min(count - self.newest, WINDOW) | 1
        return Session(self.address, count, time_ms, f"{seen & (1 << WINDOW) - 1:x}")

    def with_late(self, count: int) -> "Session":
        return msgspec.structs.replace(self, seen=f"{int(self.seen, 16) | 1 << (self.newest - count):x}")

    def nearest(self, count: int) -> int:
        """The full counter, of one that may only be its lower 16 bits."""
        behind = self.newest - count
        if count >= _ROUND or behind < WINDOW:
            return count
        full = count + _ROUND * round(behind / _ROUND)
        return full if full - self.newest < WINDOW and self.newest - full < WINDOW else count


class Memory(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that must be remembered of one device. Each method gives its answer and the memory afterwards."""

    now: Session | None = None
    before: Session | None = None
    ids: tuple[str, ...] = ()  # of the latest messages, short
    heard_ms: int | None = None  # when the newest uplink was measured
    occupied: bool | None = None  # what it said of the bay

    def knows(self, message_id: str) -> bool:
        """Whether a message with this id came before; an empty id is nobody's."""
        return bool(message_id) and _short(message_id) in self.ids

    def noting(self, message_id: str) -> "Memory":
        if not message_id:
            return self
        return msgspec.structs.replace(self, ids=(*self.ids, _short(message_id))[-RECENT_IDS:])

    def begin(self, address: str, time_ms: int | None) -> "Memory":
        """After a join or a reset of the counter, unless what was sent after it came before it."""
        now = self.now
        if now is not None and _is_before(time_ms, now.time_ms):
            return self
        return msgspec.structs.replace(self, now=Session(address, time_ms=time_ms), before=now or self.before)

    def judge(self, address: str, count: int, time_ms: int | None) -> tuple[Verdict, "Memory"]:
        """One uplink, whose id is not known. `time_ms` is the network server's."""
        now, before = self.now, self.before
        is_earlier = now is not None and _is_before(time_ms, now.time_ms)
        may_be_before = before is not None and before.address == address
        if now is not None and now.address == address:
            full = now.nearest(count)
            if full > now.newest and not (is_earlier and may_be_before):
                return Verdict.NEW, self._with_newest(now, full, time_ms)
            if full < now.newest and _is_before(now.time_ms, time_ms):
                # It was sent later with a smaller counter: the device began again, and nobody told.
                return Verdict.NEW, self._begun(address, count, time_ms)
            if full <= now.newest:
                verdict, session = _late(now, full)
                return verdict, msgspec.structs.replace(self, now=session)
        if before is not None and may_be_before:
            verdict, session = _late(before, before.nearest(count))
            return verdict, msgspec.structs.replace(self, before=session)
        if is_earlier:  # of a session before these two
            return Verdict.LATE, self
        return Verdict.NEW, self._begun(address, count, time_ms)

    def _begun(self, address: str, count: int, time_ms: int | None) -> "Memory":
        return self.begin(address, None)._with_newest(Session(address), count, time_ms)

    def _with_newest(self, session: Session, count: int, time_ms: int | None) -> "Memory":
        return msgspec.structs.replace(self, now=session.with_newest(count, time_ms))


def _is_before(time_ms: int | None, other_ms: int | None) -> bool:
    """Whether both are known, and the first is the earlier one."""
    return time_ms is not None and other_ms is not None and time_ms < other_ms


def _late(session: Session, count: int) -> tuple[Verdict, Session]:
    if count > session.newest:  # the last words of a session that has ended
        return Verdict.LATE, session.with_newest(count, session.time_ms)
    if session.newest - count >= WINDOW:
        return Verdict.TOO_OLD, session
    if session.has(count):
        return Verdict.REPEATED, session
    return Verdict.LATE, session.with_late(count)


def _short(message_id: str) -> str:
    return blake2b(message_id.encode(), digest_size=8).hexdigest()


_decode = msgspec.json.Decoder(Memory).decode


def to_mark(memory: Memory) -> str:
    return msgspec.json.encode(memory).decode()


def from_mark(text: str | None) -> Memory:
    """An empty memory for a mark that is not there or that nobody can read."""
    try:
        return Memory() if text is None else _decode(text)
    except msgspec.MsgspecError:
        return Memory()
