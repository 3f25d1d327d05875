"""How fast a gateway makes up for an outage: what has waited, sealed, sent by HTTPS and committed.

The collector is a process of its own on one core; buffer and uplink are in this process.
"""

import asyncio
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.polled import CLOCK
from demo.house import answers, free_port
from demo.processes import Part, command, program
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.identity.enroll import enroll
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.at_rest import AtRest
from models.protocol import EnrollmentToken
from models.reading import Item, Reading

POINTS: Final = 200
SWEEPS: Final = 1500  # 300 000 readings: a day of 200 points every minute
MAX_ITEMS: Final = 5000  # as gateway.yaml has it if it says nothing


@dataclass(frozen=True, slots=True)
class Result:
    """Readings that the collector has committed, each second."""

    per_s: float


async def measure() -> Result:
    """Runs some ten seconds."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name)
        home, port, http_port = folder / "collector", free_port(), free_port()
        await command(
            *("collector", "init", "--dir", str(home), "--site", "bench", "--site-name", "bench"),
            *("--url", f"https://127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(port)),
            *("--http-port", str(http_port)),
        )
        collector = Part(
            "collector", program("collector", "serve", "--dir", str(home)), folder / "collector.log"
        )
        await collector.start()
        try:
            os.sched_setaffinity(collector.pid, {min(os.sched_getaffinity(0))})
            await answers(f"http://127.0.0.1:{http_port}/readyz", collector)
            made = await command(
                "collector", "enrollment-token", "--dir", str(home), "--site", "bench", "--name", "bench"
            )
            return Result(await _drained_per_s(folder, made["token"]))
        finally:
            await collector.stop()


async def _drained_per_s(folder: Path, token: str) -> float:
    identity = await asyncio.to_thread(enroll, EnrollmentToken.decode(token), state_dir=folder / "state")
    carrier = HttpsCarrier(identity)
    at_rest = AtRest(bytes(range(32)), purpose="buffer")
    async with await SqliteBuffer.open(
        folder / "buffer.db", clock=CLOCK, at_rest=at_rest, window_s=0
    ) as buffer:
        outbox = await buffer.outbox("main")
        for sweep in range(SWEEPS):
            await buffer.append(_sweep(sweep))
        uplink = Uplink(
            buffer,
            outbox,
            Questions(carrier, identity, CLOCK.now_ms),
            Sender.of(identity),
            Pace(live_every_s=10, max_items=MAX_ITEMS),
            clock=CLOCK,
        )
        began_s = time.monotonic()
        try:
            await uplink.flush()
        finally:
            await carrier.close()
        took_s = time.monotonic() - began_s
        counts = await outbox.counts()
        if counts.delivered != SWEEPS * POINTS:
            raise RuntimeError(f"only {counts.delivered} readings were sent: {uplink.state.problem}")
        return counts.delivered / took_s


def _sweep(number: int) -> list[Item]:
    rng = random.Random(number)
    at_ms = time.time_ns() // 1_000_000 - (SWEEPS - number) * 60_000
    return [
        Reading(
            device_id=f"meter-{point % 50:02}",
            point=f"p{point // 50}",
            value=round(rng.gauss(230, 3), 1),
            measured_ms=at_ms,
            received_ms=at_ms + 3,
        )
        for point in range(POINTS)
    ]
