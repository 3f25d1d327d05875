"""A stretch of network between two that talk by TCP: it remembers what passes, goes deaf, and is cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Listens on a free port of this machine, and passes on to `to`."""

    to: tuple[str, int]
    port: int = 0
    upwards: bytearray = field(default_factory=bytearray)  # what clients have sent
    loses_answers: bool = False
    connections: int = 0
    _open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Relay"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self.cut()
            await server.wait_closed()

    async def cut(self) -> None:
        """End all connections that there are, without a word."""
        there = dict(self._open)
        for task, writers in there.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*there, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        writers = self._open[task] = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # it is cut
                there, to_there = await asyncio.open_connection(*self.to)
                writers.append(to_there)
                await asyncio.gather(self._up(reader, to_there), self._down(there, writer))
        finally:
            del self._open[task]
            for one in writers:
                one.close()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self.upwards += data
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.loses_answers:
                writer.write(data)
                await writer.drain()
        writer.close()
