"""A process that reads numbered events from three sources, each on from its mark; made to be killed.

Each line of its output is one promise: `SOURCE NUMBER` once that event and the mark of it are stored.
It reads nothing and ends only with a signal.
"""

import asyncio
import itertools
import random
import sys
from pathlib import Path

from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Event
from tests.support.appending import CLOCK, say
from tests.support.buffers import open_buffer


async def read_for_ever(buffer: SqliteBuffer, source: str, rng: random.Random) -> None:
    read_to = int((await buffer.marks(source)).get(source, 0))
    numbers = itertools.count(read_to + 1)
    while True:
        batch = [next(numbers) for _ in range(rng.choice([1, 1, 3]))]
        events = [
            Event(device_id=source, kind="door.opened", data={"n": number}, measured_ms=0, received_ms=0)
            for number in batch
        ]
        await buffer.append(events, {source: str(batch[-1])})
        say(source, batch[-1])


async def main(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with (
        await open_buffer(path, CLOCK, window_s=0.002) as buffer,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(3):
            tasks.create_task(read_for_ever(buffer, f"source-{number}", rng))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
