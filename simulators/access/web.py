"""A small HTTP/1.1 server for a simulated controller: requests in, answers and endless streams out."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import h11

from models.errors import NeedsAHuman

_LOOP_TURNS = 5  # in which a connection that was just accepted is known and let go
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s


class CannotListen(NeedsAHuman):
    """The port is taken, or the address is not this machine's."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one")


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """`stream` comes instead of a body, until it ends or the connection does."""

    status: int = 200
    kind: str = "application/json"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes, None] | None = None


Handle = Callable[[Request], Awaitable[Answer | None]]
"""None: break the connection."""


class WebServer:
    """Listens between `listen` and `close`."""

    def __init__(self, host: str, port: int, handle: Handle) -> None:
        self.host, self.port = host, port
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def listen(self) -> None:
        """With port 0 a free one is chosen, once. Raises CannotListen."""
        if self._server is not None:
            return
        try:
            self._server = await asyncio.start_server(self._connected, self.host, self.port)
        except OSError as err:
            raise CannotListen(self.host, self.port, (err.strerror or str(err)).split("] ")[-1]) from err
        self.port = self._server.sockets[0].getsockname()[1]

    async def go(self) -> None:
        """Stop listening and break every connection, as a loss of power does."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for _ in range(_LOOP_TURNS):
                await asyncio.sleep(0)
        await self.cut()

    async def cut(self) -> None:
        """Break every connection, and go on listening."""
        serving = dict(self._serving)
        for task, writer in serving.items():
            peer = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in serving.values():  # also those whose task was cancelled before it began
            writer.transport.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted just before it went
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(
            self._serve(reader, writer), name="simulated controller"
        )
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        try:
            # A client that goes, or speaks no HTTP, is left alone: it is not there to be told.
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
                while (request := await self._request(http, reader, writer)) is not None:
                    answer = await self._handle(request)
                    if answer is None or not await self._answer(http, reader, writer, answer):
                        return
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                http.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode(), head.target.decode(), headers, bytes(body))
            else:
                return None

    async def _answer(
        self,
        http: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
    ) -> bool:
        headers = [("content-type", answer.kind), *answer.headers.items()]
        if answer.stream is None:
            headers.append(("content-length", str(len(answer.body))))
        else:
            headers.append(("connection", "close"))
        writer.write(http.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
        if answer.stream is None:
            writer.write(http.send(h11.Data(data=answer.body)) or b"")
            writer.write(http.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return False
            http.start_next_cycle()
            return True
        leaving = asyncio.create_task(reader.read(1), name="client of a stream")
        streaming = asyncio.create_task(_stream(http, writer, answer.stream), name="stream")
        try:
            await asyncio.wait([leaving, streaming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leaving, streaming):
                task.cancel()
            await asyncio.gather(leaving, streaming, return_exceptions=True)
        return False


async def _stream(
    http: h11.Connection, writer: asyncio.StreamWriter, chunks: AsyncGenerator[bytes, None]
) -> None:
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            writer.write(http.send(h11.Data(data=chunk)) or b"")
            await writer.drain()
    writer.write(http.send(h11.EndOfMessage()) or b"")
    await writer.drain()
