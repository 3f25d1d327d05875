"""Sees to it that a command with one key is done once, also when it is repeated after a restart."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from drivers.access.errors import NotLetIn, NotReached
from drivers.contract import CommandRefused, DeviceUnreachable, Sink
from models.times import DAY_MS, Clock

KEPT_MS: Final = 7 * DAY_MS
"""How long it is known what became of a command; far longer than any is repeated."""

_KEY = re.compile(r"[!-~]{1,100}")


class _Record(msgspec.Struct, omit_defaults=True):
    action: str
    at_ms: int
    facts: dict[str, Any] | None = None  # None: begun, and not known to have ended


class Acts:
    """The commands to one device. What they are about, such as card numbers, is not in its records."""

    def __init__(self, device_id: str, clock: Clock) -> None:
        self._device_id, self._clock = device_id, clock
        self._prefix = f"access/{device_id}/act/"
        self._sink: Sink | None = None
        self._records: dict[str, _Record] = {}
        self._turn = asyncio.Lock()

    async def begin(self, sink: Sink) -> None:
        """Find out what was commanded before."""
        found = await sink.marks(self._prefix)
        self._records.clear()
        for name, text in found.items():
            try:
                self._records[name.removeprefix(self._prefix)] = msgspec.json.decode(text, type=_Record)
            except msgspec.MsgspecError:
                continue
        self._sink = sink

    def end(self) -> None:
        """The device is listened to no longer; no command reaches it."""
        self._sink = None

    async def once(
        self,
        action: str,
        arguments: Mapping[str, Any],
        work: Callable[[], Awaitable[dict[str, Any]]],
        *,
        again: bool,
    ) -> dict[str, Any]:
        """What `work` returns, or returned when this key was first given.

        `again`: whether it does no harm to do it a second time. If it does, and the answer to the first
        time was lost, it is refused, since nobody can know whether it was done.
        """
        key = arguments.get("key")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise CommandRefused(self._device_id, action, "it needs a `key`: 1 to 100 characters, no spaces")
        async with self._turn:
            sink = self._sink
            if sink is None:
                raise DeviceUnreachable(self._device_id, "it is not listened to at present")
            known = self._records.get(key)
            if known is not None and known.action != action:
                raise CommandRefused(self._device_id, action, "its key was given to another command before")
            if known is not None and known.facts is not None:
                return dict(known.facts)
            if known is not None and not again:
                told = "it was sent before and its answer was lost; look at the door, and give it a new key"
                raise CommandRefused(self._device_id, action, told)
            await self._note(sink, key, _Record(action, self._clock.now_ms()))
            try:
                facts = await work()
            except (CommandRefused, NotReached, NotLetIn):  # nothing was changed: it may be tried again
                await self._note(sink, key, None)
                raise
            await self._note(sink, key, _Record(action, self._clock.now_ms(), facts))
            return dict(facts)

    async def _note(self, sink: Sink, key: str, record: _Record | None) -> None:
        oldest_ms = self._clock.now_ms() - KEPT_MS
        marks = {}
        for old in [old for old, known in self._records.items() if known.at_ms < oldest_ms]:
            del self._records[old]
            marks[self._prefix + old] = ""
        if record is None:
            self._records.pop(key, None)
            marks[self._prefix + key] = ""
        else:
            self._records[key] = record
            marks[self._prefix + key] = msgspec.json.encode(record).decode()
        await sink.put([], marks)
