"""Listens for what a controller pushes: one small HTTP server, for one controller and a secret path.

Who comes from another address, or does not know the path, is told nothing and read no further. Bodies are
bounded; their pictures pass by in memory, a block at a time, and are never kept.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timezone
from typing import Final

import h11

from drivers.access.errors import BadBody
from drivers.access.heard import Heard, read_message
from drivers.access.parts import MOST_TEXT, Part, PartReader, boundary_of
from models.errors import NeedsAHuman

MOST_BODY: Final = 8_388_608  # bytes; an event with its pictures has some 300 kB
MOST_CONNECTIONS: Final = 8
HEAD_LIMIT_S: Final = 120.0  # a controller may keep its connection open from one event to the next
BODY_LIMIT_S: Final = 30.0

_BLOCK: Final = 65_536
_LOOP_TURNS: Final = 5  # in which a connection that was just accepted is known and let go

_log = logging.getLogger(__name__)

Take = Callable[[list[Heard]], Awaitable[None]]
IsAllowed = Callable[[str], bool]


class CannotListen(NeedsAHuman):
    """The address or port for what controllers push cannot be had."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {why}; choose another listen_host or listen_port")


class _Refused(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class PushServer:
    """One controller's listener. `take` is called with what each request says, before it is answered."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        path: str,
        is_allowed: IsAllowed,
        take: Take,
        on_garbage: Callable[[], None],
        zone: Callable[[], timezone],
    ) -> None:
        """`path`: the secret one, with its slash. `is_allowed`: whether an address is the controller's."""
        self.host, self.port = host, port
        self._path = path.encode()
        self._is_allowed, self._take, self._on_garbage, self._zone = is_allowed, take, on_garbage, zone
        self._open: set[asyncio.StreamWriter] = set()
        self.ready = asyncio.Event()  # set while it listens; then `port` is where
        self.refused = 0  # requests of strangers, and bodies that could not be read

    async def run(self) -> None:
        """Serve until cancelled. Raises CannotListen, and what `take` raises."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._listen(tasks)
        finally:
            for writer in self._open:  # whose task was cancelled before it began
                writer.transport.abort()
            self._open.clear()

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not self.ready.is_set() or len(self._open) >= MOST_CONNECTIONS:
                writer.transport.abort()
                return
            self._open.add(writer)
            tasks.create_task(self._serve(reader, writer), name="door push")

        try:
            server = await asyncio.start_server(connected, self.host, self.port, limit=_BLOCK)
        except OSError as err:
            why = (err.strerror or str(err)).split("] ")[-1]
            raise CannotListen(self.host, self.port, why) from err
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ready.clear()
            server.close()
            for _ in range(_LOOP_TURNS):
                await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        try:
            if peer is None or not self._is_allowed(str(peer[0])):
                self._refuse(f"{peer[0] if peer else 'somebody'}, which is not the controller")
                return
            await self._converse(_Connection(reader, writer))
        finally:
            self._open.discard(writer)
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, connection: "_Connection") -> None:
        """One request after the other, until the controller goes or says what it should not."""
        with contextlib.suppress(ConnectionError, TimeoutError, h11.RemoteProtocolError):
            while await self._answer_one(connection):
                pass

    async def _answer_one(self, connection: "_Connection") -> bool:
        request = await connection.request()
        if request is None:
            return False
        try:
            heard = await self._read(request, connection)
        except _Refused as refusal:
            await connection.answer(refusal.status, last=True)
            return False
        except BadBody as err:
            self._refuse(f"a push that cannot be read: {err}")
            self._on_garbage()
            await connection.answer(400, last=True)
            return False
        await self._take(heard)
        return await connection.answer(200)

    async def _read(self, request: h11.Request, connection: "_Connection") -> list[Heard]:
        path = request.target.partition(b"?")[0]
        if not hmac.compare_digest(path, self._path):
            self._refuse("a push with another path")
            raise _Refused(404)
        if request.method not in (b"POST", b"PUT"):
            raise _Refused(405)
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        boundary = boundary_of(fields.get("content-type", ""))
        if "100-continue" in fields.get("expect", "").lower():
            await connection.go_on()
        async with asyncio.timeout(BODY_LIMIT_S):
            texts = [
                text
                async for text in (
                    _whole(connection.body()) if boundary is None else _parts(connection.body(), boundary)
                )
            ]
        return [heard for text in texts for heard in read_message(text, self._zone())]

    def _refuse(self, what: str) -> None:
        self.refused += 1
        log = _log.warning if self.refused == 1 else _log.debug  # once, for a stranger may try all day
        log("port %d: refused %s", self.port, what)


async def _whole(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    text = bytearray()
    async for data in body:
        text += data
        if len(text) > MOST_TEXT:
            raise BadBody("a message without end")
    if text.strip():  # a controller tries a listener with nothing in the body
        yield bytes(text)


async def _parts(body: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    reader = PartReader(boundary)
    async for data in body:
        for part in reader.feed(data):
            yield _text(part)
    for part in reader.finish():
        yield _text(part)


def _text(part: Part) -> bytes:
    if part.text is None:
        raise BadBody("a part that is too long or broken off")
    return part.text


class _Connection:
    """HTTP/1.1 over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16_384)

    async def request(self) -> h11.Request | None:
        """The next one; None when the controller has gone."""
        async with asyncio.timeout(HEAD_LIMIT_S):
            event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> AsyncIterator[bytes]:
        """Raises BadBody for one that is too long or broken off."""
        size = 0
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise BadBody("a body that broke off")
            size += len(event.data)
            if size > MOST_BODY:
                raise BadBody("a body that is too long")
            yield bytes(event.data)

    async def go_on(self) -> None:
        self._send(h11.InformationalResponse(status_code=100, headers=[]))
        await self._writer.drain()

    async def answer(self, status: int, *, last: bool = False) -> bool:
        """Whether another request may follow."""
        headers = [("content-length", "0"), *([("connection", "close")] if last else [])]
        self._send(h11.Response(status_code=status, headers=headers))
        self._send(h11.EndOfMessage())
        await self._writer.drain()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_BLOCK))
        return event  # type: ignore[return-value]  # NEED_DATA is handled above

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
