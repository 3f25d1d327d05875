"""A Modbus TCP client of raw bytes: it sends what a test wrote by hand, and hands back what came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PATIENCE_S = 5.0  # after this a test has failed; no test waits so long


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            self.writer.write(bytes.fromhex(frame) if isinstance(frame, str) else frame)

    async def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readexactly(count)

    async def frame(self) -> bytes:
        """The next frame, as long as its header says."""
        header = await self.take(6)
        return header + await self.take(int.from_bytes(header[4:6], "big"))

    async def ask(self, frame: str | bytes) -> bytes:
        self.send(frame)
        return await self.frame()

    async def rest(self) -> bytes:
        """What still comes until the other side closes; raises ConnectionError when it breaks."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A connection to a port of this machine, closed at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def read_frame(unit: int, first: int, count: int, *, transaction: int = 1, function: int = 4) -> bytes:
    """A request to read, written out as the specification draws it."""
    return bytes(
        [
            transaction >> 8, transaction & 255, 0, 0, 0, 6,
            unit, function, first >> 8, first & 255, count >> 8, count & 255,
        ]
    )  # fmt: skip
