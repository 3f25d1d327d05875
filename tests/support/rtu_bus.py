"""A serial line in memory with Modbus units on it, of raw bytes, written from the protocol.

It knows nothing of drivers, profiles or libraries: what a unit says is a function of what it was asked.
Bytes take the time of the line. The units answer in order, each for itself, and talk into each other when
a test makes them late.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from drivers.line import Line
from drivers.line.port import Heard, Lost
from models.times import Clock


class Said(NamedTuple):
    """Bytes that a unit sends, so much later than it could."""

    data: bytes
    after_s: float = 0.0
    in_turn: bool = True  # after what the unit has still to send


Unit = Callable[[bytes], Iterable[Said]]
"""Given a whole request frame with a right checksum: what to send."""


def checksum(data: bytes) -> bytes:
    """CRC-16 of a frame, bit by bit as the specification draws it."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return bytes((value & 0xFF, value >> 8))


def sealed(body: bytes) -> bytes:
    return body + checksum(body)


@dataclass
class RtuBus:
    """The units and the wire. `baud` 0: bytes take no time."""

    units: Mapping[int, Unit]
    baud: int = 0
    turnaround_s: float = 0.0  # what units need before they answer
    echoes: bool = False  # whether the adapter hears itself
    chunk: int = 16  # bytes that arrive at once

    def __post_init__(self) -> None:
        self.asked: list[tuple[float, bytes]] = []  # when a request was complete, and its bytes
        self.busy_s = 0.0  # how long there were bytes on the wire
        self._port: MemoryPort | None = None
        self._free_s: dict[int, float] = {}  # when a unit has sent what it had to

    @property
    def byte_s(self) -> float:
        return 11 / self.baud if self.baud else 0.0

    def connect(self, port: "MemoryPort") -> None:
        self._port = port

    def hear(self, request: bytes) -> None:
        """What the master sends; it is complete after its time on the wire."""
        loop = asyncio.get_running_loop()
        took_s = len(request) * self.byte_s
        self.busy_s += took_s
        if self.echoes:
            self._arrive(loop.time(), request)
        loop.call_later(took_s, self._serve, request)

    def shout(self, data: bytes) -> None:
        """Bytes out of nowhere."""
        if self._port is not None:
            self._port.deliver(data)

    def _serve(self, request: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        self.asked.append((now_s, request))
        unit = self.units.get(request[0])
        if unit is None or len(request) < 4 or checksum(request[:-2]) != request[-2:]:
            return
        for said in unit(request):
            begins_s = now_s + self.turnaround_s + said.after_s
            if said.in_turn:
                begins_s = max(begins_s, self._free_s.get(request[0], 0.0))
                self._free_s[request[0]] = begins_s + len(said.data) * self.byte_s
            self.busy_s += len(said.data) * self.byte_s
            self._arrive(begins_s, said.data)

    def _arrive(self, begins_s: float, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for at in range(0, len(data), self.chunk):
            piece = data[at : at + self.chunk]
            loop.call_at(begins_s + (at + len(piece)) * self.byte_s, self.shout, piece)


class MemoryPort:
    """A `Port` whose other end is a bus in memory."""

    is_stuck = False

    def __init__(self, bus: RtuBus, heard: Heard, lost: Lost) -> None:
        self.is_open = True
        self._bus, self._heard, self._lost = bus, heard, lost
        bus.connect(self)

    def send(self, data: bytes) -> None:
        self._bus.hear(data)

    def take_in(self) -> None:
        pass

    def deliver(self, data: bytes) -> None:
        if self.is_open:
            self._heard(data)

    def close(self) -> None:
        self.is_open = False


class MemoryLine(Line):
    """A line on a bus in memory."""

    def __init__(self, bus: RtuBus, *, clock: Clock) -> None:
        silent_s = max(3.5 * bus.byte_s, 0.00175)
        super().__init__("memory", silent_s=silent_s, byte_s=bus.byte_s, clock=clock)
        self._bus = bus

    async def _open(self, heard: Heard, lost: Lost) -> MemoryPort:
        return MemoryPort(self._bus, heard, lost)


def registers_unit(read: Callable[[int, int], int]) -> Unit:
    """An honest unit whose register at (function, address) is what `read` says."""

    def answer(request: bytes) -> list[Said]:
        unit, function = request[0], request[1]
        first, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        words = b"".join(read(function, first + n).to_bytes(2, "big") for n in range(count))
        return [Said(sealed(bytes((unit, function, len(words))) + words))]

    return answer
