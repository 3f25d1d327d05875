"""The process of what is simulated. Arguments: pace, ledger file, scenario, folder for keys."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from demo.clock import FastClock, Pace
from simulators.announce import served
from simulators.kinds import write_secrets
from simulators.scenario import shipped_scenario
from simulators.site import running


async def serve(pace: Pace, ledger: Path, scenario: str, keys: Path) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, what a gateway must know of it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(
        shipped_scenario(scenario).on_free_ports(),
        clock=FastClock(pace).clock(),
        ledger=ledger,
        start_ms=pace.start_ms,
    ) as site:
        write_secrets(keys, site.secrets)
        print(json.dumps(served(site, 1.0, ledger)), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(Pace.decode(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
