"""A process that listens to a door controller and keeps its events in a buffer; made to be killed.

Each line of its output is one promise: so many items were stored. It reads nothing and ends with a signal.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drivers.access.controller import PushAddress
from edge_agent.sink import BufferSink
from models.reading import Item
from tests.support.appending import CLOCK, say
from tests.support.buffers import open_buffer
from tests.support.doors import SECRET_PATH, the_listener


class SayingSink(BufferSink):
    """Says what it has stored."""

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        await super().put(items, marks)
        say(len(items))


async def main(path: Path, url: str, port: int) -> None:
    async with await open_buffer(path, CLOCK, window_s=0.002) as buffer:
        push = PushAddress("127.0.0.1", port, SECRET_PATH)
        listener = the_listener(url, CLOCK, push=push, period_s=2.0)
        await listener.run(SayingSink(buffer, CLOCK))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
