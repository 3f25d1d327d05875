"""A Modbus TCP device of raw bytes, written from the protocol, that answers as a test tells it to.

It knows nothing of drivers, profiles or libraries. Registers and bits are set by hand; a twist replaces the
honest reply by whatever bytes the test wants to see on the wire.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    transaction: int
    unit: int
    function: int
    first: int
    count: int
    frame: bytes


Twist = Callable[[Asked, bytes], Iterable[bytes]]
"""Given the request and its honest reply: the chunks to send instead, none for silence."""


class HangUp(Exception):
    """Raised by a twist: close the connection now."""


def framed(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A whole frame."""
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu


class ByteServer:
    """One endpoint. Every unit behind it shows the same registers, unless `units` says which ones answer."""

    def __init__(self) -> None:
        self.words: dict[tuple[int, int], int] = {}  # (function, address): what is not set reads 0
        self.refused: dict[tuple[int, int], int] = {}  # (function, address): exception code
        self.longest = 125  # registers; more are refused with exception 3
        self.units: set[int] | None = None
        self.twist: Twist | None = None
        self.asked: list[Asked] = []
        self.connections = 0
        self.port = 0
        self._open: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    def set(self, function: int, first: int, data: str | bytes) -> None:
        """Fill registers from `first` on with the bytes of `data`, as they are on the wire."""
        data = bytes.fromhex(data) if isinstance(data, str) else data
        for index in range(0, len(data), 2):
            self.words[function, first + index // 2] = int.from_bytes(data[index : index + 2], "big")

    def reply(self, asked: Asked) -> bytes:
        """The honest reply, as a frame."""
        keys = [(asked.function, address) for address in range(asked.first, asked.first + asked.count)]
        codes = [self.refused[key] for key in keys if key in self.refused]
        if codes or (asked.function > 2 and asked.count > self.longest):
            pdu = bytes([asked.function | 0x80, codes[0] if codes else 3])
        else:
            values = [self.words.get(key, 0) for key in keys]
            if asked.function > 2:
                data = b"".join(value.to_bytes(2, "big") for value in values)
            else:
                bits = sum((value & 1) << index for index, value in enumerate(values))
                data = bits.to_bytes((asked.count + 7) // 8, "little")
            pdu = bytes([asked.function, len(data)]) + data
        return framed(asked.transaction, asked.unit, pdu)

    async def start(self, port: int = 0) -> None:
        """Listen; the same port again after `stop`, when it is given."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and break what is connected."""
        if self._server is not None:
            self._server.close()
            for transport in list(self._open):
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    def send(self, data: bytes) -> None:
        """Send bytes on every connection, asked or not."""
        for transport in self._open:
            transport.write(data)

    def hang_up(self) -> None:
        """Break all connections and go on listening."""
        for transport in list(self._open):
            transport.abort()

    def requests(self) -> list[tuple[int, int, int]]:
        """What was asked: function, first, count."""
        return [(asked.function, asked.first, asked.count) for asked in self.asked]


class _Connection(asyncio.Protocol):
    def __init__(self, server: ByteServer) -> None:
        self.server = server
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server._open.add(transport)
        self.server.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server._open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 12:
            frame, self.buffer = self.buffer[:12], self.buffer[12:]
            assert frame[2:6] == b"\0\0\0\6", f"no request to read: {frame.hex(' ')}"
            number = [int.from_bytes(frame[at : at + 2], "big") for at in (0, 8, 10)]
            asked = Asked(number[0], frame[6], frame[7], number[1], number[2], frame)
            self.server.asked.append(asked)
            self.answer(asked)

    def answer(self, asked: Asked) -> None:
        server = self.server
        if server.units is not None and asked.unit not in server.units:
            return
        honest = server.reply(asked)
        try:
            for chunk in [honest] if server.twist is None else server.twist(asked, honest):
                self.transport.write(chunk)
        except HangUp:
            self.transport.abort()


@asynccontextmanager
async def byte_server(port: int = 0) -> AsyncIterator[ByteServer]:
    """A server for the length of a block."""
    server = ByteServer()
    await server.start(port)
    try:
        yield server
    finally:
        await server.stop()
        await asyncio.sleep(0)  # the aborted transports close their sockets
        await asyncio.sleep(0)
