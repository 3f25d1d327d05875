"""Stands before a collector and speaks HTTP for it: busy, failing, losing receipts, delivering twice.

What a proxy of bytes cannot do to requests inside TLS is done here. Towards gateways it needs a certificate
that they trust, towards the collector one that the collector trusts; whoever runs it owns both.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import h11

from simulators.lab.plan import Fault

_CHUNK_BYTES = 65_536
_CLOSE_LIMIT_S = 1.0
_CHANGES: Final = frozenset({b"POST", b"PUT"})
"""What is delivered twice or again: whoever asks a question only gets another answer."""


@dataclass(frozen=True, slots=True)
class _Request:
    head: h11.Request
    body: bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


@dataclass(slots=True)
class Fates:
    """What happens to requests now; shares of them. May be changed at any time."""

    lost_receipt: float = 0.0
    twice: float = 0.0
    late_again: float = 0.0
    busy_pause_s: float | None = None
    failing: bool = False


@dataclass(slots=True)
class Done:
    """How often it did what."""

    passed: int = 0
    lost_receipts: int = 0
    doubled: int = 0
    late: int = 0
    busy: int = 0
    failed: int = 0


@dataclass(slots=True)
class Front:
    """One front. Made by `front`; it is a target for the faults `requests.…`, see `simulators.lab.player`."""

    port: int
    fates: Fates = field(default_factory=Fates)
    done: Done = field(default_factory=Done)

    async def begin(self, fault: Fault) -> None:
        if fault.what == "busy":
            self.fates.busy_pause_s = fault.how["pause_s"]
        elif fault.what == "failing":
            self.fates.failing = True
        else:
            setattr(self.fates, fault.what, fault.how["share"])

    async def end(self, fault: Fault) -> None:
        if fault.what == "busy":
            self.fates.busy_pause_s = None
        elif fault.what == "failing":
            self.fates.failing = False
        else:
            setattr(self.fates, fault.what, 0.0)


Connect = Callable[[], ssl.SSLContext | None]


class _Conversation:
    """One connection of a gateway, and the collector's side of it."""

    def __init__(self, front: Front, far: tuple[str, int], connect: Connect, chance: random.Random) -> None:
        self._front, self._far, self._connect, self._chance = front, far, connect, chance
        self._again: _Request | None = None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await _next_request(connection, reader)
            if request is None:
                return
            answer = await self._fate(request)
            if answer is None:
                writer.transport.abort()
                return
            writer.write(_bytes_of(connection, answer))
            await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _fate(self, request: _Request) -> _Answer | None:
        """What the gateway gets; None: the connection breaks."""
        fates, done = self._front.fates, self._front.done
        if fates.busy_pause_s is not None:
            done.busy += 1
            pause = str(max(1, round(fates.busy_pause_s))).encode()
            return _Answer(self._chance.choice([429, 503]), [(b"retry-after", pause)])
        if fates.failing:
            done.failed += 1
            return _Answer(self._chance.choice([500, 502, 504]), [])
        done.passed += 1
        if request.head.method not in _CHANGES:
            return await self._ask(request)
        answer = await self._ask(request)
        if self._again is not None:
            again, self._again = self._again, None
            done.late += 1
            await self._ask(again)
        if self._strikes(fates.late_again):
            self._again = request
        if self._strikes(fates.twice):
            done.doubled += 1
            answer = await self._ask(request)
        if self._strikes(fates.lost_receipt):
            done.lost_receipts += 1
            return None
        return answer

    async def _ask(self, request: _Request) -> _Answer | None:
        """What the collector says; None when it cannot be reached or breaks off."""
        tls = self._connect()
        try:
            reader, writer = await asyncio.open_connection(
                *self._far, ssl=tls, server_hostname=self._far[0] if tls else None
            )
        except OSError:
            return None
        try:
            connection = h11.Connection(h11.CLIENT)
            kept = [(name, value) for name, value in request.head.headers if name != b"connection"]
            head = h11.Request(
                method=request.head.method,
                target=request.head.target,
                headers=[*kept, (b"connection", b"close")],
            )
            writer.write(connection.send(head) or b"")
            writer.write(connection.send(h11.Data(data=request.body)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return await _next_answer(connection, reader)
        except (OSError, h11.ProtocolError):
            return None
        finally:
            await _closed(writer)

    def _strikes(self, probability: float) -> bool:
        return probability > 0 and self._chance.random() < probability


@asynccontextmanager
async def front(
    far_host: str,
    far_port: int,
    *,
    tls: ssl.SSLContext | None = None,
    connect: Connect = lambda: None,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 0,
) -> AsyncIterator[Front]:
    """Before the collector at `far_host` while the block runs. Port 0: a free one.

    `tls` is for gateways that connect; `connect` makes what connects to the collector, again for each
    request, so that the certificate of a gateway may come later.
    """
    chance = random.Random(seed)
    made = Front(0)
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(made, (far_host, far_port), connect, chance)
        try:
            with contextlib.suppress(OSError, h11.ProtocolError):
                await conversation.run(reader, writer)
        finally:
            await _closed(writer)

    def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio 3.11 complains of its own handler tasks when they are cancelled.
        task = asyncio.create_task(talk(reader, writer), name="front")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(joined, host, port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> _Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _Request(head, bytes(body))
        else:
            return None


async def _next_answer(connection: h11.Connection, reader: asyncio.StreamReader) -> _Answer | None:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            gone = (b"connection", b"transfer-encoding", b"content-length")
            headers = [(name, value) for name, value in head.headers if name not in gone]
            return _Answer(head.status_code, headers, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            return None


def _bytes_of(connection: h11.Connection, answer: _Answer) -> bytes:
    length = [] if answer.status == 204 else [(b"content-length", str(len(answer.body)).encode())]
    sent = connection.send(h11.Response(status_code=answer.status, headers=[*answer.headers, *length])) or b""
    if answer.body:
        sent += connection.send(h11.Data(data=answer.body)) or b""
    return sent + (connection.send(h11.EndOfMessage()) or b"")


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_LIMIT_S):
            await writer.wait_closed()
