"""One TCP connection to one endpoint, shared by all units behind it, with one request at a time."""

import asyncio
import os
from typing import NamedTuple

from drivers.contract import DeviceUnreachable, Exchange
from drivers.modbus.wire import Garbled, Lost, Wire
from models.errors import RetryLater
from models.times import Clock

CONNECT_TIMEOUT_S = 3.0  # a SYN is repeated after 1 s; who needs two repeats in a building is down
FIRST_PAUSE_S = 0.5  # after a failed attempt to connect; doubles with every further one up to
LONGEST_PAUSE_S = 5.0  # so that a meter that is back is read within seconds
SILENT_REQUESTS = 3  # without any byte, before the connection is taken for half open and made anew


class ReplyTimeout(RetryLater):
    """The device did not answer in time."""

    def __init__(self, endpoint: str, unit: int, waited_s: float) -> None:
        super().__init__(f"{endpoint} unit {unit}: no reply within {waited_s:g} s; check unit id and wiring")
        self.endpoint, self.unit, self.waited_s = endpoint, unit, waited_s


class UnusableReply(RetryLater):
    """Something came in, but nothing of it was the answer: foreign, garbled, truncated or an echo."""

    def __init__(self, endpoint: str, unit: int) -> None:
        super().__init__(f"{endpoint} unit {unit}: no valid reply; look for a second unit {unit} or noise")
        self.endpoint, self.unit = endpoint, unit


class ConnectionBroke(RetryLater):
    """The connection ended while a reply was awaited."""

    def __init__(self, endpoint: str, detail: str) -> None:
        super().__init__(f"{endpoint}: {detail}; the next request connects again")
        self.endpoint, self.detail = endpoint, detail


class Reply(NamedTuple):
    """The frame that answers a request, normal or exception, and when it was asked for and complete."""

    frame: bytes
    sent_ms: int
    received_ms: int


class ModbusTcpLink:
    """One endpoint. Connects when needed, and again after a loss, but not more often than makes sense."""

    def __init__(self, host: str, port: int, *, clock: Clock) -> None:
        self.host, self.port = host, port
        self._clock = clock
        self._lock = asyncio.Lock()
        self._wire: Wire | None = None
        self._users: set[object] = set()
        self._transaction = 0
        self._silent = 0
        self._pause_s = 0.0
        self._not_before_s = 0.0
        self._failure = ""

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

    async def request(
        self, unit: int, pdu: bytes, data_bytes: int, timeout_s: float, trace: list[Exchange] | None = None
    ) -> Reply:
        """Ask once, and wait for the reply to exactly this question.

        Raises ReplyTimeout, UnusableReply, ConnectionBroke or DeviceUnreachable. Any of them may be
        followed by the same request. A reply that comes too late is dropped when it comes.
        """
        async with self._lock:
            wire = await self._connected()
            self._transaction = self._transaction % 0xFFFF + 1  # never 0, which some devices always answer
            sent_ms = self._clock.now_ms()
            answer = wire.ask(self._transaction, unit, pdu, data_bytes)
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
            return Reply(frame, sent_ms, received_ms)

    async def _connected(self) -> Wire:
        if self._wire is not None and self._wire.is_open:
            return self._wire
        self._wire = None
        now_s = self._clock.monotonic_s()
        if now_s < self._not_before_s:
            raise DeviceUnreachable(self.endpoint, self._failure)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, self._wire = await asyncio.get_running_loop().create_connection(
                    lambda: Wire(self._clock.now_ms), self.host, self.port
                )
        except (OSError, UnicodeError) as err:  # TimeoutError is an OSError; a host name may be no name
            self._failure = _told(err)
            self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._not_before_s = self._clock.monotonic_s() + self._pause_s
            raise DeviceUnreachable(self.endpoint, self._failure) from err
        self._pause_s = self._not_before_s = 0.0
        self._silent = 0
        return self._wire

    def _failure_of(self, wire: Wire, unit: int, timeout_s: float, err: Exception) -> RetryLater:
        """What to tell the caller; decides as well whether the connection can be kept."""
        if isinstance(err, Lost):
            return ConnectionBroke(self.endpoint, str(err))
        if isinstance(err, Garbled):
            return UnusableReply(self.endpoint, unit)
        self._silent = 0 if wire.strays else self._silent + 1
        if wire.unfinished or self._silent >= SILENT_REQUESTS:
            # The rest of a truncated frame may never come, and would swallow the head of the next reply.
            wire.abort()
        if wire.unfinished or wire.is_disturbed:
            return UnusableReply(self.endpoint, unit)
        return ReplyTimeout(self.endpoint, unit, timeout_s)


def _told(err: OSError | UnicodeError) -> str:
    """Why there is no connection, without the address, which the message names already."""
    if isinstance(err, TimeoutError) and not err.errno:
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(err, OSError) and err.errno and err.errno > 0:
        return os.strerror(err.errno)
    return str(err)
