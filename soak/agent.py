"""The process of the edge agent, with the lab's disk and clock. Arguments: configuration file, seed.

Beside the configuration lie `disk.json` and `clock.json`, which say what is wrong with them.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from edge_agent.app import Machine, run_agent
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, load_config
from models.errors import GatehouseError
from simulators.lab.clock import WatchedFile, wrong_clock
from simulators.lab.disk import Disk
from simulators.lab.vfs import between

DISK, CLOCK = "disk.json", "clock.json"


async def run(config: Config, folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # No time service: all that this gateway knows of the time is what the collector says.
    machine = Machine(lambda: False, boot_id="soak", judges_certificates=True)
    clock = wrong_clock(real_clock(), WatchedFile(folder / CLOCK))
    await run_agent(config, clock=clock, stop=stop, machine=machine)


def main(file: Path, seed: int) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = load_config(file)
    disk = Disk(seed=seed, control=file.with_name(DISK))
    with between(config.state_dir, disk):
        try:
            uvloop.run(run(config, file.parent))
        except GatehouseError as err:  # such as a disk that refuses; systemd would start it again
            logging.getLogger("soak").error("%s", err)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
