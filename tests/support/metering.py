"""A process that keeps 500 readings a second and says what was acknowledged; made to be ended.

Arguments: buffer file, first value, and how many readings to put at once in the beginning. Each line of its
output is one promise: `kept FIRST LAST`, the values that are on disk now. After SIGTERM it ends as the agent
does: what was taken is stored.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from edge_agent.sink import BufferSink
from models.times import Clock
from tests.support.buffers import open_buffer
from tests.support.items import readings

CLOCK = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)
SWEEP = 25  # readings, every 50 ms: 500 a second
EVERY_S = 0.05
BURST_SWEEP = 100


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: Path, value: int, burst: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await open_buffer(path, CLOCK) as buffer, asyncio.TaskGroup() as tasks:
        sink = BufferSink(buffer, CLOCK)

        async def keep(first: int, count: int) -> None:
            await sink.put(readings(count, first=first))
            if not sink.held:
                say("kept", first, first + count - 1)

        say("open")
        for first in range(value, value + burst, BURST_SWEEP):
            tasks.create_task(keep(first, BURST_SWEEP))
        value += burst
        while not stop.is_set():
            tasks.create_task(keep(value, SWEEP))
            value += SWEEP
            await asyncio.sleep(EVERY_S)
    say("taken", value)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
