"""A TCP proxy that is the network between two parts: it can be cut, dead in one direction, slow or lossy.

It carries bytes and knows no protocol, so it serves TLS, MQTT and Modbus alike.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

_CHUNK_BYTES = 65_536
_IN_FLIGHT = 64  # chunks on the line in each direction; then the sender feels it
_SEGMENT_BYTES = 1_400  # of a TCP packet: what can be lost, and in what a slow line goes on
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s
_RETRANSMIT_S = (
    0.2,
    3.0,
)  # RFC 6298: a sender that gets no answer waits for so long, twice as long each time

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Conditions:
    """What is wrong with the line. May be changed at any time; it holds for what comes then."""

    delay_s: float = 0.0  # of every chunk in each direction
    jitter_s: float = 0.0  # and up to so much more; nothing overtakes
    loss: float = 0.0  # share of the packets; each costs the pause after which TCP sends it again
    bytes_per_s: float = 0.0  # in each direction; 0: any number
    drip_s: float = 0.0  # pause after every single byte; 0: none
    reset: float = 0.0  # share of the answers in whose middle the connection breaks
    deaf: bool = False  # what is sent to the target gets lost, though the connection stays
    mute: bool = False  # what the target sends gets lost


class Network:
    """Forwards every connection to `port` on to the target. Made by `network`.

    `cut` refuses new connections and breaks the open ones, as a router does whose uplink is gone. `refuse`
    leaves the open ones alone. `stall` keeps connections but lets nothing through, as a cable pulled on the
    way; what was sent meanwhile arrives after `restore`, as it does with TCP. For the rest see `Conditions`.
    """

    def __init__(
        self, target_host: str, target_port: int, host: str, sleep: Sleep, chance: random.Random
    ) -> None:
        self.host, self.port = host, 0
        self.line = Conditions()
        self.connections_taken = 0
        self.bytes_carried = 0
        self._target = target_host, target_port
        self._sleep, self._chance = sleep, chance
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flows = asyncio.Event()
        self._flows.set()

    async def cut(self) -> None:
        """Refuse new connections and break those that are open."""
        self.refuse()
        await self.drop_connections()

    def refuse(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def stall(self) -> None:
        """Let nothing through until `restore`; connections stay."""
        self._flows.clear()

    async def restore(self) -> None:
        """Undo `cut`, `refuse` and `stall`, on the same port."""
        self.flow()
        await self.accept()

    def flow(self) -> None:
        """Undo `stall`."""
        self._flows.set()

    async def accept(self) -> None:
        """Undo `cut` and `refuse`, on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._joined, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def drop_connections(self) -> None:
        """Break the open connections once; both ends see a reset."""
        tasks = list(self._open)
        for task in tasks:
            for writer in self._open[task]:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio 3.11 complains of its own handler tasks when they are cancelled.
        writers = [writer]
        task = asyncio.create_task(self._serve(reader, writers), name=f"carry {self.port}")
        self._open[task] = writers
        task.add_done_callback(self._open.pop)
        self.connections_taken += 1

    async def _serve(self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        [writer] = writers
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, far_writer, is_answer=False))
                tasks.create_task(self._carry(far_reader, writer, is_answer=True))
        except* OSError:  # one side broke, or the target is not there: so does the other
            for each in writers:
                _reset(each)
        finally:
            for each in writers:
                each.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        """One direction. Chunks wait for the delay on a line of their own, so that it costs no speed."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        now = asyncio.get_running_loop().time

        async def take() -> None:
            due_s = 0.0
            while chunk := await reader.read(_CHUNK_BYTES):
                due_s = max(due_s, now() + self._late_s(len(chunk)))
                await line.put((due_s, chunk))
            await line.put((max(due_s, now() + self.line.delay_s), b""))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take())
            while True:
                due_s, chunk = await line.get()
                if due_s > now():
                    await self._sleep(due_s - now())
                await self._flows.wait()
                if not chunk:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                if self.line.mute if is_answer else self.line.deaf:
                    continue
                if is_answer and self._strikes(self.line.reset):
                    writer.write(chunk[: self._chance.randrange(len(chunk))])
                    await writer.drain()
                    raise ConnectionResetError
                await self._put(chunk, writer)

    def _late_s(self, size: int) -> float:
        """How long these bytes are under way."""
        line = self.line
        late_s = line.delay_s + (self._chance.uniform(0, line.jitter_s) if line.jitter_s else 0.0)
        if line.loss:
            for _ in range(-(-size // _SEGMENT_BYTES)):
                pause_s, longest_s = _RETRANSMIT_S
                while self._strikes(line.loss) and pause_s <= longest_s:
                    late_s += pause_s
                    pause_s *= 2
        return late_s

    async def _put(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        while chunk:
            line = self.line
            size = 1 if line.drip_s else _SEGMENT_BYTES if line.bytes_per_s else len(chunk)
            piece, chunk = chunk[:size], chunk[size:]
            self.bytes_carried += len(piece)
            writer.write(piece)
            await writer.drain()
            if line.drip_s:
                await self._sleep(line.drip_s)
            elif line.bytes_per_s:
                await self._sleep(len(piece) / line.bytes_per_s)

    def _strikes(self, probability: float) -> bool:
        return probability > 0 and self._chance.random() < probability


@asynccontextmanager
async def network(
    target_host: str,
    target_port: int,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sleep: Sleep = asyncio.sleep,
    seed: int = 0,
) -> AsyncIterator[Network]:
    """A network to the target while the block runs. Port 0: a free one, the same through all cuts."""
    made = Network(target_host, target_port, host, sleep, random.Random(seed))
    made.port = port
    await made.restore()
    try:
        yield made
    finally:
        await made.cut()


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    if peer is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()
