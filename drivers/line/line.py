"""Asks one question at a time on a wire that several drivers share, and keeps its silences.

All times here are those of the event loop: what happens on a wire happens in real time, however fast the
clock of a demonstration runs. Only the pauses between attempts to open the wire are the clock's.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from drivers.contract import Exchange
from drivers.line.contract import ConnectionBroke, Look, Reply
from drivers.line.pauses import CONNECT_TIMEOUT_S, Pauses
from drivers.line.port import Heard, Lost, Port
from drivers.line.question import NotAnswered, Question
from models.times import Clock

STORM_LIMIT_S: Final = 0.5
"""How long a line that is never silent may hold up a question; then it is asked all the same."""

SILENT_REQUESTS: Final = 3  # without any byte, before a connection is taken for half open and made anew


class Line(ABC):
    """One half-duplex wire. It opens when it is needed, and again after a loss, but not in a storm.

    Before each request the wire has been silent for the interval by which its devices tell frames apart,
    and whatever came meanwhile is dropped. What comes while nothing is asked is counted and dropped.
    Cancelling any of the methods is safe: the next one finds the line usable.
    """

    _may_be_half_open: ClassVar[bool] = False  # whether silence may mean that the other end is gone

    def __init__(self, endpoint: str, *, silent_s: float, byte_s: float, clock: Clock) -> None:
        """`silent_s` is the silence before each request; `byte_s` what one byte takes, 0 when unknown."""
        self.endpoint = endpoint
        """The name of the line in messages."""
        self.unasked_bytes = 0
        """How many bytes came while nothing was asked."""
        self.sent = 0
        """How many requests have left."""
        self._silent_s, self._byte_s, self._clock = silent_s, byte_s, clock
        self._lock = asyncio.Lock()
        self._pauses = Pauses(endpoint, clock)
        self._users: set[object] = set()
        self._port: Port | None = None
        self._question: Question | None = None
        self._quiet_since_s = 0.0  # when the last byte that was sent or heard is over
        self._silent_requests = 0

    @abstractmethod
    async def _open(self, heard: Heard, lost: Lost) -> Port:
        """Open the wire without holding up the loop. Raises OSError, or ValueError for a wrong setting."""

    async def attach(self, user: object) -> None:
        """Open on behalf of a user. Raises DeviceUnreachable; the user is attached all the same."""
        self._users.add(user)
        async with self._lock:
            await self._opened()

    async def detach(self, user: object) -> None:
        """Give up the line; it closes with its last user. Safe without `attach`."""
        self._users.discard(user)
        if not self._users:
            await self.shut()

    async def shut(self) -> None:
        """Close, whoever uses it; the next request opens it again."""
        port, self._port = self._port, None
        if port is not None:
            port.close()
        if self._question is not None:
            self._question.fail(ConnectionBroke(self.endpoint, "the line was shut"))

    async def ask(
        self, request: bytes, look: Look, *, timeout_s: float, who: str, trace: list[Exchange] | None = None
    ) -> Reply:
        """Send a request, and wait for the answer that `look` finds in what comes.

        `timeout_s` counts from when the request has left; a frame that is still growing then may become
        complete, within as long again. `who` is what messages call the device. `trace` gets the exchange.

        Raises ReplyTimeout when nothing came, or only the request's own echo; UnusableReply when something
        else did; ConnectionBroke and DeviceUnreachable. Any of them may be followed by the same request.

        An answer that comes too late is dropped. But when it comes after the next request was sent, the
        `look` of that one gets it, and must know it from its own answer.
        """
        async with self._lock:
            port = await self._ready()
            sent_ms = self._clock.now_ms()
            question = self._ask(port, request, look, timeout_s)
            try:
                frame, received_ms = await question.answer
            except (NotAnswered, ConnectionBroke) as err:
                failure = question.why_not(self.endpoint, who, timeout_s)
                if isinstance(err, ConnectionBroke):
                    failure = err
                elif port.is_stuck or self._is_half_open(question):
                    await self.shut()
                if trace is not None:
                    trace.append(
                        Exchange(request, question.heard, str(failure), sent_ms, self._clock.now_ms())
                    )
                raise failure from err
            finally:
                self._question = None
                question.close()
            self._silent_requests = 0
            if trace is not None:
                trace.append(Exchange(request, (*question.heard, frame), "", sent_ms, received_ms))
            return Reply(frame, sent_ms, received_ms)

    async def tell(self, request: bytes, *, pause_s: float = 0.0) -> None:
        """Send a request that nobody answers, and leave the line alone until it has left, and `pause_s` more.

        Raises ConnectionBroke or DeviceUnreachable.
        """
        async with self._lock:
            port = await self._ready()
            self._send(port, request)
            if not port.is_open:
                raise ConnectionBroke(self.endpoint, "the line was lost")
            await asyncio.sleep(self._quiet_since_s - asyncio.get_running_loop().time() + pause_s)

    async def _opened(self) -> Port:
        if self._port is not None and self._port.is_open:
            return self._port
        self._port = None
        self._pauses.check()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._port = await self._open(self._heard, self._lost)
        except (OSError, ValueError) as err:  # TimeoutError is an OSError; a host name may be no name
            raise self._pauses.failed(err) from err
        self._pauses.succeeded()
        self._silent_requests = 0
        return self._port

    async def _ready(self) -> Port:
        """The open line, when it has been silent for long enough."""
        loop = asyncio.get_running_loop()
        port = await self._opened()
        end_s = loop.time() + STORM_LIMIT_S
        while True:
            port.take_in()
            if not port.is_open:
                raise ConnectionBroke(self.endpoint, "the line was lost")
            wait_s = self._quiet_since_s + self._silent_s - loop.time()
            if wait_s <= 0 or loop.time() >= end_s:
                return port
            await asyncio.sleep(wait_s)

    def _ask(self, port: Port, request: bytes, look: Look, timeout_s: float) -> Question:
        self._send(port, request)
        end_s = self._quiet_since_s + timeout_s
        question = Question(request, look, end_s=end_s, last_s=end_s + timeout_s, now_ms=self._clock.now_ms)
        self._question = question
        if not port.is_open:
            question.fail(ConnectionBroke(self.endpoint, "the line was lost"))
        return question

    def _send(self, port: Port, request: bytes) -> None:
        port.send(request)
        self.sent += 1
        self._quiet_since_s = asyncio.get_running_loop().time() + len(request) * self._byte_s

    def _heard(self, data: bytes) -> None:
        self._quiet_since_s = max(self._quiet_since_s, asyncio.get_running_loop().time())
        if self._question is None:
            self.unasked_bytes += len(data)
        else:
            self._question.hear(data)

    def _lost(self, why: str) -> None:
        if self._question is not None:
            self._question.fail(ConnectionBroke(self.endpoint, why))

    def _is_half_open(self, question: Question) -> bool:
        self._silent_requests = 0 if question.heard else self._silent_requests + 1
        return self._may_be_half_open and self._silent_requests >= SILENT_REQUESTS
