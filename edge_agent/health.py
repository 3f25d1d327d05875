"""Tells programs and people on this machine how the gateway is: /metrics, /healthz, /readyz, /status."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from models.errors import NeedsAHuman

REQUEST_LIMIT_S: Final = 5.0  # in real time, for whoever connects and says nothing
MAX_CONNECTIONS: Final = 16

_TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What one address answers."""

    body: bytes
    content_type: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK


Pages = dict[str, Callable[[], Awaitable[Page]]]


class PortTaken(NeedsAHuman):
    """Something else listens where the health pages should be."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(
            f"health pages on {host}:{port}: {detail}; choose another health.port in gateway.yaml"
        )
        self.host, self.port = host, port


@contextlib.asynccontextmanager
async def serve_health(host: str, port: int, pages: Pages) -> AsyncIterator[int]:
    """Serve `pages` until the end of the block; the port, which is a free one when 0 was asked for."""
    conversations: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(conversations) >= MAX_CONNECTIONS:
            writer.close()
            return
        conversations.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(REQUEST_LIMIT_S):
                    await _answer(reader, writer, pages)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            conversations.discard(task)

    try:
        server = await asyncio.start_server(connected, host, port, limit=16_384)
    except OSError as err:
        raise PortTaken(host, port, err.strerror or str(err)) from err
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Pages) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode("ascii")
    method, path, _ = request.split(" ", 2)
    page = pages.get(path.partition("?")[0])
    if method not in ("GET", "HEAD"):
        answer = Page(b"only GET\n", status=HTTPStatus.METHOD_NOT_ALLOWED)
    elif page is None:
        answer = Page(f"have: {' '.join(pages)}\n".encode(), status=HTTPStatus.NOT_FOUND)
    else:
        answer = await page()
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\ncontent-type: {answer.content_type}\r\n"
        f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (answer.body if method == "GET" else b""))
    await writer.drain()
