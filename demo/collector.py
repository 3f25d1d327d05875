"""The process of the collector, on the fast clock. Arguments: pace, folder."""

import asyncio
import signal
import sys
from pathlib import Path

from collector.serve import Rounds, run_collector
from demo.clock import FastClock, Pace

_ROUNDS = Rounds(energy_s=0.5, insight_s=1.0, outbox_s=0.5)  # hours go by in no time


async def run(pace: Pace, folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_collector(folder, clock=FastClock(pace).clock(), stop=stop, rounds=_ROUNDS)


if __name__ == "__main__":
    asyncio.run(run(Pace.decode(sys.argv[1]), Path(sys.argv[2])))
