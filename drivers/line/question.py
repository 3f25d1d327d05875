"""One open question on a wire: takes in what comes until the answer is in it, or its time is up."""

import asyncio
from collections.abc import Callable
from typing import Final

from drivers.line.contract import Found, Look, ReplyTimeout, UnusableReply
from models.errors import RetryLater

MOST_HEARD: Final = 4096
"""Bytes after a question, before it is given up. The longest honest answer of any family has 300."""

SETTLED_S: Final = 0.05
"""Without a byte, after which a frame is over though its length promises more: USB adapters and serial
servers deliver in pieces up to 20 ms apart."""


class NotAnswered(Exception):
    """Its time is up, or far more has come than any answer has."""


class Question:
    """Waits for one answer, from when the request was sent until `close`. Times are those of the loop."""

    def __init__(
        self, request: bytes, look: Look, *, end_s: float, last_s: float, now_ms: Callable[[], int]
    ) -> None:
        """It ends at `end_s`, or at `last_s` when a frame is still growing then."""
        self._request, self._look, self._last_s, self._now_ms = request, look, last_s, now_ms
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[tuple[bytes, int]] = self._loop.create_future()
        """The frame and when it was complete; or NotAnswered, or whatever `fail` was given."""
        self._heard = b""
        self._heard_s = 0.0
        self._found = Found(None, (), b"")
        self._ending = self._loop.call_at(end_s, self._end)
        self._settling: asyncio.TimerHandle | None = None

    @property
    def heard(self) -> tuple[bytes, ...]:
        """What came before the answer, or instead of it."""
        rest = () if self._found.answer is not None else (self._found.rest,)
        return (*self._found.strays, *filter(None, rest))

    def hear(self, data: bytes) -> None:
        """Something has come."""
        if self.answer.done():
            return
        self._heard += data
        self._heard_s = self._loop.time()
        if self._settling is not None:
            self._settling.cancel()
        try:
            self._found = self._look(self._heard)
        except Exception as err:  # a bug, which must not end in the loop's own log
            self.fail(err)
            return
        if self._found.answer is not None:
            self.answer.set_result((self._found.answer, self._now_ms()))
        elif len(self._heard) > MOST_HEARD:
            self.fail(NotAnswered())
        elif self._found.likely is not None:
            self._settling = self._loop.call_later(
                SETTLED_S, self._settle, self._found.likely, self._now_ms()
            )

    def fail(self, err: Exception) -> None:
        """There will be no answer."""
        if not self.answer.done():
            self.answer.set_exception(err)

    def close(self) -> None:
        """Nobody waits any more."""
        self._ending.cancel()
        if self._settling is not None:
            self._settling.cancel()
        self.answer.cancel()

    def why_not(self, endpoint: str, who: str, waited_s: float) -> RetryLater:
        """What to tell whoever asked, when nothing answered."""
        if all(piece == self._request for piece in self.heard):
            return ReplyTimeout(endpoint, who, waited_s)
        return UnusableReply(endpoint, who, self.heard)

    def _settle(self, likely: bytes, received_ms: int) -> None:
        if not self.answer.done():
            self._found = self._found._replace(answer=likely)
            self.answer.set_result((likely, received_ms))

    def _end(self) -> None:
        """Give up, unless a frame is still growing."""
        grown_s = self._heard_s + SETTLED_S
        if self._found.rest and self._loop.time() < min(grown_s, self._last_s):
            self._ending = self._loop.call_at(min(grown_s, self._last_s), self._end)
        else:
            self.fail(NotAnswered())
