"""A controller that pushes raw bytes, as a test writes them."""

import asyncio
import contextlib
from collections.abc import Iterable

PATIENCE_S = 5.0


async def exchange(port: int, chunks: Iterable[bytes], *, host: str = "127.0.0.1") -> bytes:
    """Send the chunks on a connection of their own; all that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                return await reader.read()
            return b""
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(path: str, body: bytes, *, kind: str = "", method: str = "POST", more: str = "") -> bytes:
    """A whole request, after which the connection is to be closed."""
    kind = kind or ("application/xml" if body.lstrip()[:1] == b"<" else "application/json")
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def status_of(answer: bytes) -> int:
    """0: the connection was closed without a word."""
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0


async def post(port: int, path: str, body: bytes, *, kind: str = "") -> int:
    return status_of(await exchange(port, [request(path, body, kind=kind)]))
