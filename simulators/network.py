"""A TCP proxy that is the network between two parts: it can be cut, slowed down or lose its connections."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_CHUNK_BYTES = 65_536
_IN_FLIGHT = 64  # chunks on the line in each direction; then the sender feels it
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s

Sleep = Callable[[float], Awaitable[None]]


class Network:
    """Forwards every connection to `port` on to the target. Made by `network`.

    `cut` refuses new connections and breaks the open ones, as a router does whose uplink is gone. `stall`
    keeps connections but lets nothing through, as a cable pulled on the way; what was sent meanwhile
    arrives after `restore`, as it does with TCP.
    """

    def __init__(self, target_host: str, target_port: int, host: str, sleep: Sleep) -> None:
        self.host, self.port = host, 0
        self.delay_s = 0.0  # of every chunk in each direction
        self.connections_taken = 0
        self.bytes_carried = 0
        self._target = target_host, target_port
        self._sleep = sleep
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flows = asyncio.Event()
        self._flows.set()

    async def cut(self) -> None:
        """Refuse new connections and break those that are open."""
        self._stop_listening()
        await self.drop_connections()

    def stall(self) -> None:
        """Let nothing through until `restore`; connections stay."""
        self._flows.clear()

    async def restore(self) -> None:
        """Undo `cut` and `stall`, on the same port."""
        self._flows.set()
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

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

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
                tasks.create_task(self._carry(reader, far_writer))
                tasks.create_task(self._carry(far_reader, writer))
        except* OSError:  # one side broke, or the target is not there: so does the other
            for each in writers:
                _reset(each)
        finally:
            for each in writers:
                each.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. Chunks wait for the delay on a line of their own, so that it costs no speed."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        now = asyncio.get_running_loop().time

        async def take() -> None:
            while chunk := await reader.read(_CHUNK_BYTES):
                await line.put((now() + self.delay_s, chunk))
            await line.put((now() + self.delay_s, b""))

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
                self.bytes_carried += len(chunk)
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def network(
    target_host: str,
    target_port: int,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Network]:
    """A network to the target while the block runs. Port 0: a free one, the same through all cuts."""
    made = Network(target_host, target_port, host, sleep)
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
