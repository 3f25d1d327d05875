"""A serial port whose other end is a function: every request is given to it, with the wire's own bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from simulators.line.pty import PtyPort
from simulators.line.tcp import TcpPort

Script = Callable[[bytes], Iterable[bytes]]
"""Given a whole request without the FE before it: the pieces to send back, none for silence."""


class ScriptedLine:
    """One port, and who is at its end. Requests are told apart by their length, as both protocols say it."""

    def __init__(self, length_at: int, overhead: int, port: PtyPort | TcpPort) -> None:
        """`length_at`: which byte tells the length of the data; `overhead`: how many others there are."""
        self.script: Script = lambda request: []
        self.asked: list[bytes] = []  # without FE
        self.woken: list[int] = []  # how many FE came before each
        self.port = port
        self._length_at, self._overhead = length_at, overhead
        self._stream = b""
        self.port.heard = self._heard

    def send(self, data: bytes) -> None:
        """Bytes that nobody has asked for."""
        self.port.send(data)

    def _heard(self, data: bytes) -> None:
        self._stream += data
        while True:
            request = self._stream.lstrip(b"\xfe")
            if len(request) <= self._length_at:
                return
            size = self._overhead + request[self._length_at]
            if len(request) < size:
                return
            self.woken.append(len(self._stream) - len(request))
            self._stream = request[size:]
            self.asked.append(request[:size])
            for piece in self.script(request[:size]):
                self.port.send(piece)


@asynccontextmanager
async def scripted_line(length_at: int, overhead: int) -> AsyncIterator[tuple[ScriptedLine, str]]:
    """A pseudo-terminal for the length of a block, and its path."""
    port = PtyPort()
    await port.open()
    try:
        yield ScriptedLine(length_at, overhead, port), port.path
    finally:
        await port.close()
        await asyncio.sleep(0)
