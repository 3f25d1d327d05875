"""Takes events to whoever listens, by stream and by push, in order, and as badly as is asked for."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlsplit

import h11

from models.times import Clock
from simulators.access import messages
from simulators.access.log import Entry
from simulators.access.sections import DoorControllerSection

_PUSH_LIMIT_S = 5.0
_MOST_WAITING = 10_000  # of a listener that does not read


class Delivery:
    """Of one controller. `shown_ms` is its clock; `run` pushes and belongs in a task."""

    def __init__(self, section: DoorControllerSection, shown_ms: Callable[[], int], clock: Clock) -> None:
        self._section, self._shown_ms, self._clock = section, shown_ms, clock
        self._offset_ms = round(section.utc_offset_h * 3_600_000)
        self.push_url = section.push_url
        self._streams: set[asyncio.Queue[bytes]] = set()
        self._pushes: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue(_MOST_WAITING)
        self.pushed = 0  # that were answered with 2xx
        self.refused: list[int] = []  # statuses of those that were not; 0: no answer at all

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def send(self, entry: Entry, *, is_current: bool = True) -> None:
        form = self._section.form
        fields = messages.event(
            entry, address=self._section.host, offset_ms=self._offset_ms, is_current=is_current
        )
        self._to_streams(*messages.body(fields, form))
        if self.push_url is not None:
            pushed = messages.with_picture if self._section.pictures and entry.person else messages.body
            with contextlib.suppress(asyncio.QueueFull):
                self._pushes.put_nowait((self.push_url, *pushed(fields, form)))

    def send_garbage(self) -> None:
        """The first half of something."""
        self._to_streams("application/json", b'{"eventType": "AccessControllerEvent", "Acc')
        if self.push_url is not None:
            with contextlib.suppress(asyncio.QueueFull):
                self._pushes.put_nowait((self.push_url, "application/json", b'{"eventType": "AccessContr'))

    async def stream(self, replayed: list[Entry]) -> AsyncGenerator[bytes, None]:
        """The parts for one listener, beginning with old events."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._streams.add(queue)
        try:
            for entry in replayed:
                fields = messages.event(
                    entry, address=self._section.host, offset_ms=self._offset_ms, is_current=False
                )
                yield self._part(*messages.body(fields, self._section.form))
            beating = asyncio.create_task(self._beat(queue), name="heartbeat of a stream")
            try:
                while True:
                    yield await queue.get()
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
        finally:
            self._streams.discard(queue)

    async def settled(self) -> None:
        """Return when everything that was to be pushed was, and nothing more will be."""
        self.push_url = None
        await self._pushes.join()

    async def run(self) -> None:
        """Push what there is, one after the other; what is not taken is lost."""
        while True:
            url, kind, body = await self._pushes.get()
            try:
                async with asyncio.timeout(_PUSH_LIMIT_S):
                    status = await _push(url, kind, body)
                if 200 <= status < 300:
                    self.pushed += 1
                else:
                    self.refused.append(status)
            except (OSError, TimeoutError, h11.ProtocolError):
                self.refused.append(0)
            finally:
                self._pushes.task_done()

    def _to_streams(self, kind: str, content: bytes) -> None:
        for queue in self._streams:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(self._part(kind, content))

    def _part(self, kind: str, content: bytes) -> bytes:
        return messages.part(kind, content, with_length=self._section.lengths)

    async def _beat(self, queue: asyncio.Queue[bytes]) -> None:
        while True:
            await queue.put(self._heartbeat())
            await self._clock.sleep(self._section.heartbeat_ms / 1000)

    def _heartbeat(self) -> bytes:
        fields = messages.heartbeat(self._shown_ms(), address=self._section.host, offset_ms=self._offset_ms)
        return self._part(*messages.body(fields, self._section.form))


async def _push(url_: str, kind: str, body: bytes) -> int:
    url = urlsplit(url_)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        http = h11.Connection(h11.CLIENT)
        headers = [("host", url.netloc), ("content-type", kind), ("content-length", str(len(body)))]
        for event in (
            h11.Request(method="POST", target=url.path or "/", headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(http.send(event) or b"")
        await writer.drain()
        while True:
            event_ = http.next_event()
            if event_ is h11.NEED_DATA:
                http.receive_data(await reader.read(4096))
            elif isinstance(event_, h11.Response):
                return event_.status_code
            elif isinstance(event_, h11.ConnectionClosed):
                return 0
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
