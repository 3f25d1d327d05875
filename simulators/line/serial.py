"""A half-duplex line: what the reader sends reaches all devices on it; what they say takes its time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from models.times import Clock
from simulators.ledger import LedgerWriter

CHUNK = 16  # bytes that arrive at once: the FIFO of a usual UART

Sleep = Callable[[float], Awaitable[None]]


class Port(Protocol):
    """What leads to the reader."""

    heard: Callable[[bytes], None]
    left: Callable[[], None]

    async def open(self) -> None: ...

    def send(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class Say(Protocol):
    """Puts what a device (`who`) says on the line, one thing behind the other."""

    def __call__(self, data: bytes, *, after_s: float = 0.0, who: str = "") -> None:
        """`after_s`: real seconds later than the device would at once."""

    def is_speaking(self, who: str) -> bool:
        """Whether a device has not yet said all it has to. It hears nothing meanwhile."""


class Talker(Protocol):
    """The devices of one family on a line."""

    def hear(self, data: bytes, connection: int, say: Say) -> None:
        """Take what the reader has sent, in pieces of any size; answer now or later by `say`."""


class SerialLine:
    """One line, between a port and the devices on it. `baud` None: bytes take no time at all."""

    def __init__(
        self,
        port: Port,
        talkers: Sequence[Talker],
        *,
        baud: int | None,
        bits_per_byte: int = 11,
        turnaround_s: float = 0.0,
        echoes: bool = False,
        clock: Clock,
        ledger: LedgerWriter | None = None,
        wire_sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`turnaround_s`: what devices need before they answer. `echoes`: the adapter hears itself."""
        self.port = port
        self._talkers = tuple(talkers)
        self._byte_s = 0.0 if baud is None else bits_per_byte / baud
        self._turnaround_s = turnaround_s if baud is not None else 0.0
        self._echoes = echoes
        self._clock, self._ledger, self._wire_sleep = clock, ledger, wire_sleep
        self._connection: int | None = None
        self._speaking: set[asyncio.Task[None]] = set()
        self._last_said: dict[str, asyncio.Task[None]] = {}
        port.heard, port.left = self._heard, self._left

    async def open(self) -> None:
        """Raises OSError."""
        await self.port.open()

    async def close(self) -> None:
        """When it returns, nothing of the line is open or running."""
        for task in self._speaking:
            task.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)
        await self.port.close()

    def _heard(self, request: bytes) -> None:
        if self._connection is None:
            self._connection = self._ledger.connection() if self._ledger else 1
        if self._echoes:
            self.port.send(request)
        spent_s = len(request) * self._byte_s + self._turnaround_s

        for talker in self._talkers:
            talker.hear(request, self._connection, _Saying(self, spent_s))

    def is_speaking(self, who: str) -> bool:
        """See `Say`."""
        last = self._last_said.get(who)
        return last is not None and not last.done()

    def say(self, data: bytes, after_s: float, who: str) -> None:
        """See `Say`; here `after_s` counts from now."""
        if not after_s and not self.is_speaking(who):
            self.port.send(data)
            return
        before = self._last_said[who] if self.is_speaking(who) else None
        task = asyncio.get_running_loop().create_task(self._speak(data, after_s, before), name="a reply")
        self._last_said[who] = task
        self._speaking.add(task)
        task.add_done_callback(self._speaking.discard)

    def _left(self) -> None:
        if self._ledger is not None and self._connection is not None:
            self._ledger.closed(self._clock.now_ms(), self._connection)
        self._connection = None

    async def _speak(self, data: bytes, after_s: float, before: asyncio.Task[None] | None) -> None:
        late_s = await self._wait(after_s, 0.0)
        if before is not None:
            await asyncio.wait([before])
        for at in range(0, len(data), CHUNK):
            piece = data[at : at + CHUNK]
            if self._byte_s:
                late_s = await self._wait(len(piece) * self._byte_s, late_s)
            self.port.send(piece)

    async def _wait(self, seconds: float, late_s: float) -> float:
        """Sleep, less by what came before took too long; by how much this took too long.

        A machine wakes a sleeper some milliseconds late, and a frame has many pieces.
        """
        wanted_s = seconds - late_s
        if wanted_s <= 0:
            return -wanted_s
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self._wire_sleep(wanted_s)
        return max(0.0, loop.time() - began_s - wanted_s)


class _Saying:
    """A `Say` for the answers to one request, which has taken its time."""

    def __init__(self, line: SerialLine, spent_s: float) -> None:
        self._line, self._spent_s = line, spent_s

    def __call__(self, data: bytes, *, after_s: float = 0.0, who: str = "") -> None:
        self._line.say(data, self._spent_s + after_s, who)

    def is_speaking(self, who: str) -> bool:
        return self._line.is_speaking(who)
