"""The process of the edge agent, on the fast clock. Arguments: pace, configuration file."""

import asyncio
import signal
import sys
from pathlib import Path

from demo.clock import FastClock, Pace
from edge_agent.app import run_agent
from edge_agent.config import Config, load_config


async def run(pace: Pace, config: Config) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_agent(config, clock=FastClock(pace).clock(), stop=stop)


if __name__ == "__main__":
    asyncio.run(run(Pace.decode(sys.argv[1]), load_config(Path(sys.argv[2]))))
