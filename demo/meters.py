"""The process of the simulated meters. Arguments: pace, ledger file."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from demo.clock import FastClock, Pace
from simulators.scenario import shipped_scenario
from simulators.site import running


async def serve(pace: Pace, ledger: Path) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, on which ports."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(
        shipped_scenario("office").on_free_ports(),
        clock=FastClock(pace).clock(),
        ledger=ledger,
        start_ms=pace.start_ms,
    ) as site:
        print(json.dumps({"ports": site.ports}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(Pace.decode(sys.argv[1]), Path(sys.argv[2])))
