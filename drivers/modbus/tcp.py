"""One TCP connection to one endpoint, shared by all units behind it, with one request at a time."""

import asyncio
from collections.abc import Iterable
from typing import Final

from drivers.contract import Exchange
from drivers.line import ConnectionBroke, ReplyTimeout, UnusableReply
from drivers.line.line import SILENT_REQUESTS
from drivers.line.pauses import CONNECT_TIMEOUT_S, Pauses
from drivers.modbus.link import Answer, Question
from drivers.modbus.wire import HEADER, Garbled, Lost, Wire
from models.errors import RetryLater
from models.times import Clock

STEP: Final = 256
"""From one transaction to the next, so that a late reply whose number is off by a few is never the answer to
the next question. All numbers have their turn but 0, which some devices always answer with."""


class ModbusTcpLink:
    """A `Link` to one endpoint. Connects when needed, and again after a loss, but not in a storm."""

    def __init__(self, host: str, port: int, *, clock: Clock) -> None:
        self.host, self.port = host, port
        self._clock = clock
        self._pauses = Pauses(self.endpoint, clock)
        self._lock = asyncio.Lock()
        self._wire: Wire | None = None
        self._users: set[object] = set()
        self._transaction = 1 - STEP
        self._silent = 0

    @property
    def endpoint(self) -> str:
        """The name of the endpoint in messages."""
        return f"{self.host}:{self.port}"

    async def attach(self, user: object) -> None:
        """Connect on behalf of a user. Raises DeviceUnreachable; the user is attached all the same."""
        self._users.add(user)
        async with self._lock:
            await self._connected()

    async def detach(self, user: object) -> None:
        """Give up the link; the connection ends with its last user."""
        self._users.discard(user)
        if not self._users:
            await self.shut()

    async def shut(self) -> None:
        """End the connection, whoever uses it; the next request connects again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()
            await wire.closed

    def is_certain(self, unit: int, question: Question) -> bool:
        """See `Link`. Transactions tell late replies apart."""
        return True

    async def request(
        self,
        unit: int,
        question: Question,
        timeout_s: float,
        trace: list[Exchange] | None = None,
        *,
        others: Iterable[Question] = (),
    ) -> Answer:
        """See `Link`."""
        async with self._lock:
            wire = await self._connected()
            self._transaction = (self._transaction - 1 + STEP) % 0xFFFF + 1
            sent_ms = self._clock.now_ms()
            answer = wire.ask(self._transaction, unit, question)
            try:
                async with asyncio.timeout(timeout_s):
                    frame, received_ms = await answer
            except (TimeoutError, Garbled, Lost) as err:
                failure = self._failure_of(wire, unit, timeout_s, err)
                if trace is not None:
                    replies = (*wire.strays, *filter(None, (wire.unfinished,)))
                    trace.append(Exchange(wire.request, replies, str(failure), sent_ms, self._clock.now_ms()))
                raise failure from err
            self._silent = 0
            if trace is not None:
                trace.append(Exchange(wire.request, (*wire.strays, frame), "", sent_ms, received_ms))
            return Answer(frame[HEADER.size :], sent_ms, received_ms)

    async def _connected(self) -> Wire:
        if self._wire is not None and self._wire.is_open:
            return self._wire
        self._wire = None
        self._pauses.check()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, self._wire = await asyncio.get_running_loop().create_connection(
                    lambda: Wire(self._clock.now_ms), self.host, self.port
                )
        except (OSError, UnicodeError) as err:  # TimeoutError is an OSError; a host name may be no name
            raise self._pauses.failed(err) from err
        self._pauses.succeeded()
        self._silent = 0
        return self._wire

    def _failure_of(self, wire: Wire, unit: int, timeout_s: float, err: Exception) -> RetryLater:
        """What to tell the caller; decides as well whether the connection can be kept."""
        if isinstance(err, Lost):
            return ConnectionBroke(self.endpoint, str(err))
        if isinstance(err, Garbled):
            return UnusableReply(self.endpoint, f"unit {unit}")
        self._silent = 0 if wire.strays else self._silent + 1
        if wire.unfinished or self._silent >= SILENT_REQUESTS:
            # The rest of a truncated frame may never come, and would swallow the head of the next reply.
            wire.abort()
        if wire.unfinished or wire.is_disturbed:
            return UnusableReply(self.endpoint, f"unit {unit}")
        return ReplyTimeout(self.endpoint, f"unit {unit}", timeout_s)
