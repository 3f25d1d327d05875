"""The process of the collector, on the fast clock. Arguments: pace, folder."""

import asyncio
import signal
import sys
from pathlib import Path

from collector.serve import run_collector
from demo.clock import FastClock, Pace


async def run(pace: Pace, folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_collector(folder, clock=FastClock(pace).clock(), stop=stop)


if __name__ == "__main__":
    asyncio.run(run(Pace.decode(sys.argv[1]), Path(sys.argv[2])))
