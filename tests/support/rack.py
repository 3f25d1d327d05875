"""Modbus meters of raw bytes that note who connects and when each is asked; written from the protocol."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from simulators.line.pty import PtyPort
from tests.support.clocks import VirtualClock
from tests.support.rtu_bus import sealed

READ_BYTES = 5  # of a PDU that reads registers


@dataclass
class Rack:
    """What was asked, by unit, with the time of the test's clock. All registers are 7."""

    clock: VirtualClock
    port: int = 0
    connections: int = 0
    open: int = 0
    asked: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        return sum(map(len, self.asked.values()))

    async def until(self, requests: int) -> None:
        """Wait, in real time, until so many requests have come since the start."""
        async with asyncio.timeout(30):
            while self.requests < requests:
                self._news.clear()
                await self._news.wait()

    def answer(self, unit: int, pdu: bytes) -> bytes:
        self.asked[unit].append(self.clock.monotonic_s())
        self._news.set()
        count = int.from_bytes(pdu[3:5], "big")
        return bytes((pdu[0], 2 * count)) + b"\x00\x07" * count

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readexactly(7)
                    pdu = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                    reply = self.answer(head[6], pdu)
                    length = (len(reply) + 1).to_bytes(2, "big")
                    writer.write(head[:4] + length + head[6:7] + reply)
        finally:
            self.open -= 1
            writer.close()


@contextlib.asynccontextmanager
async def rack_on_tcp(clock: VirtualClock) -> AsyncIterator[Rack]:
    rack = Rack(clock)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        await rack.converse(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    rack.port = server.sockets[0].getsockname()[1]
    try:
        yield rack
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def rack_on_a_line(clock: VirtualClock) -> AsyncIterator[tuple[Rack, str]]:
    """And the path of its port. `connections` are those that have ended."""
    rack, port = Rack(clock), PtyPort()
    heard = bytearray()

    def hear(data: bytes) -> None:
        heard.extend(data)
        while len(heard) >= READ_BYTES + 3:
            frame = bytes(heard[: READ_BYTES + 3])
            del heard[: READ_BYTES + 3]
            port.send(sealed(frame[:1] + rack.answer(frame[0], frame[1:-2])))

    def left() -> None:
        rack.connections += 1

    port.heard, port.left = hear, left
    await port.open()
    try:
        yield rack, port.path
    finally:
        await port.close()
