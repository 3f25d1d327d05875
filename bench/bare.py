"""The loop that everything is compared with: pymodbus reading the same registers, and nothing else."""

import asyncio
import json
import resource
import sys
import time

from pymodbus.client import AsyncModbusTcpClient


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def read_for(
    seconds: float, host: str, ports: list[int], units: list[int], count: int
) -> dict[str, float]:
    """Read `count` holding registers of each unit at each port, one after the other, until time is up."""
    clients = [AsyncModbusTcpClient(host, port=port) for port in ports]
    for client in clients:
        if not await client.connect():
            raise SystemExit("no connection to the simulated meters")
    requests = 0
    cpu, began = cpu_s(), time.monotonic()
    while time.monotonic() - began < seconds:
        for client in clients:
            for unit in units:
                reply = await client.read_holding_registers(0, count=count, device_id=unit)
                if reply.isError() or len(reply.registers) != count:
                    raise SystemExit(f"unexpected reply: {reply}")
                requests += 1
    result = {"requests": requests, "cpu_s": cpu_s() - cpu, "wall_s": time.monotonic() - began}
    for client in clients:
        client.close()
    return result


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    json.dump(asyncio.run(read_for(**wanted)), sys.stdout)
