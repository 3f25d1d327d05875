"""The process of the simulated meters. Arguments: pace, scenario file, ledger file."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from demo.clock import FastClock, Pace
from simulators.scenario import Scenario, load_scenario
from simulators.site import running


async def serve(pace: Pace, scenario: Scenario, ledger: Path) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, on which ports."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(
        scenario,
        clock=FastClock(pace).clock(),
        ledger=ledger,
        start_ms=pace.start_ms,
    ) as site:
        print(json.dumps({"ports": site.ports}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    file = Path(sys.argv[2])
    scenario = load_scenario(file.read_bytes(), file.name)
    asyncio.run(serve(Pace.decode(sys.argv[1]), scenario, Path(sys.argv[3])))
