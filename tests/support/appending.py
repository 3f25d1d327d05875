"""A process that appends to a buffer, seals and delivers, and says what it was promised; made to be killed.

Each line of its output is one promise: `append FIRST_SEQ LAST_SEQ VALUE` once `append` has returned,
`deliver NUMBER` once a batch is noted as delivered. It reads nothing and ends only with a signal.
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from edge_agent.buffer.contract import Outbox
from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Item
from models.times import Clock
from tests.support.buffers import open_buffer
from tests.support.items import Sealer, a_reading, an_event, readings

CLOCK = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def append_for_ever(buffer: SqliteBuffer, first_value: int, rng: random.Random) -> None:
    value = first_value
    while True:
        size = rng.choice([1, 2, 40, 300])
        items: list[Item] = [a_reading(float(value)), an_event()]
        if rng.random() < 0.9:
            items = [*readings(size, first=value)]
        numbers = await buffer.append(items)
        say("append", numbers.first, numbers.last, value)
        value += size


async def deliver_for_ever(outbox: Outbox, sealer: Sealer) -> None:
    while True:
        await outbox.wait_unsealed(200)
        await sealer.store_next(outbox, 500)
        if (batch := await outbox.pending()) is not None:
            await outbox.deliver(batch.number, quarantined=0, receipt="{}")
            say("deliver", batch.number)


async def main(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with await open_buffer(path, CLOCK, window_s=0.002) as buffer:
        outbox = await buffer.outbox("main")
        say("open", outbox.epoch.hex())
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(append_for_ever(buffer, (4 * seed + number) * 1_000_000, rng))
            tasks.create_task(deliver_for_ever(outbox, Sealer()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
