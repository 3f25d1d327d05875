"""A line behind a serial server, which passes its bytes on over TCP."""

import asyncio
import contextlib
import socket
from typing import ClassVar, Final

from drivers.line.line import Line
from drivers.line.port import FilePort, Heard, Lost, Port
from drivers.line.serial import silent_interval_s
from models.times import Clock

USUAL_BAUD: Final = 9600  # of the line behind a serial server, which nobody tells here


class StreamLine(Line):
    """A `Line` at the TCP port of a serial server."""

    _may_be_half_open: ClassVar[bool] = True

    def __init__(self, host: str, port: int, *, turnaround_s: float = 0.0, clock: Clock) -> None:
        """`turnaround_s`: the silence that slow devices need before a request, when that is longer."""
        silent_s = max(silent_interval_s(USUAL_BAUD), turnaround_s)
        super().__init__(f"{host}:{port}", silent_s=silent_s, byte_s=0.0, clock=clock)
        self._host, self._tcp_port = host, port

    async def _open(self, heard: Heard, lost: Lost) -> Port:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._tcp_port, type=socket.SOCK_STREAM)
        except UnicodeError as err:
            raise OSError(f"'{self._host}' is no name of a host") from err
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            try:
                return FilePort(await _connect(family, kind, protocol, address), heard, lost)
            except OSError as err:
                failure = err
        raise failure or OSError("the name has no address")


async def _connect(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address)
        undo.pop_all()
    return connection
