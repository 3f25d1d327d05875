"""The process of the meters, each of 20 registers. Arguments: how many endpoints, meters at each."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from models.profile import as_family, load_profile
from models.profile.modbus import ModbusProfile
from models.times import Clock
from simulators.building import Building
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.server import Endpoint

PROFILE_FILE = Path(__file__).with_name("bench-meter20.yaml")
REGISTERS = 20


def meter20() -> ModbusProfile:
    """The profile of every meter here: one request for 20 registers, 20 readings."""
    return as_family(load_profile(PROFILE_FILE.read_bytes(), PROFILE_FILE.name), ModbusProfile)


async def serve(endpoints: int, meters: int, profile: ModbusProfile) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, on which ports."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)
    building = Building(seed=1)
    running = [
        Endpoint(
            [
                ModbusMeter(
                    f"meter-{number}-{unit}",
                    unit=unit,
                    profile=profile,
                    building=building,
                    kw=20,
                    origin_ms=clock.now_ms(),
                    now_ms=clock.now_ms,
                )
                for unit in range(1, meters + 1)
            ],
            host="127.0.0.1",
            port=0,
            name=f"endpoint-{number}",
            seed=1,
            origin_ms=clock.now_ms(),
            clock=clock,
            ledger=None,
            wire_sleep=asyncio.sleep,
        )
        for number in range(endpoints)
    ]
    for endpoint in running:
        await endpoint.listen()
    print(json.dumps({"ports": [endpoint.port for endpoint in running]}), flush=True)
    await stop.wait()
    for endpoint in running:
        endpoint.stop()
        await endpoint.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), meter20()))
