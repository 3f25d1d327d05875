"""An event loop whose time passes as soon as nothing is left to do: an hour of timeouts takes no second.

For tests in which nothing comes from outside of the process.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from models.times import Clock
from tests.support.clocks import START_MS

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` is that of the tests; timers, timeouts and sleeps all follow it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._served: dict[int, Callable[[], asyncio.Protocol]] = {}
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now_s

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds

    def serve(self, port: int, served: Callable[[], asyncio.Protocol]) -> None:
        """Take connections at a port of no machine, in memory."""
        self._served[port] = served

    async def create_connection(  # type: ignore[override]  # only what is asked for here
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        if port not in self._served:
            raise ConnectionRefusedError(111, "Connection refused")
        near, far = protocol_factory(), self._served[port]()
        one, two = MemoryTransport(self, near), MemoryTransport(self, far)
        one.peer, two.peer = two, one
        far.connection_made(two)
        near.connection_made(one)
        return one, near

    @property
    def clock(self) -> Clock:
        return Clock(
            now_ms=lambda: START_MS + round(self._now_s * 1000), monotonic_s=self.time, sleep=asyncio.sleep
        )


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    peer: "MemoryTransport"

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop, self._protocol, self._closing = loop, protocol, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self.peer._take, bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        for end in (self, self.peer):
            if not end._closing:
                end._closing = True
                self._loop.call_soon(end._protocol.connection_lost, None)

    close = abort

    def _take(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)


class _Selector(selectors.DefaultSelector):
    def __init__(self, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everybody waits for ever")
            self._let_pass(max(0.0, timeout))
        return events


def in_virtual_time(main: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """Run to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop.clock))
