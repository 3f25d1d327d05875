"""The TCP port of a serial server: whoever connects is on the line behind it."""

import asyncio
from collections.abc import Callable
from typing import cast


class TcpPort:
    """One port. `heard` gets what comes from its users; `left` is called when the last one has gone."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0: a free one, chosen once."""
        self.host, self.port = host, port
        self.heard: Callable[[bytes], None] = lambda data: None
        self.left: Callable[[], None] = lambda: None
        self._users: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._deserted = asyncio.Event()
        self._deserted.set()

    async def open(self) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _User(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def send(self, data: bytes) -> None:
        """Bytes for all users."""
        for user in self._users:
            user.write(data)

    async def close(self) -> None:
        """Safe to call twice."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for user in tuple(self._users):
            user.abort()
        await self._deserted.wait()

    def joined(self, user: asyncio.Transport) -> None:
        if self._server is None:  # accepted just before it was closed
            user.abort()
        self._users.add(user)
        self._deserted.clear()

    def gone(self, user: asyncio.Transport) -> None:
        self._users.discard(user)
        if not self._users:
            self._deserted.set()
            self.left()


class _User(asyncio.Protocol):
    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._port.joined(self._transport)

    def data_received(self, data: bytes) -> None:
        self._port.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.gone(self._transport)
