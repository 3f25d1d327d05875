"""What a reading costs the agent from the wire to the receipt, beside a bare pymodbus loop.

The agent runs alone on one core; meters and collector share another. Processor time is what the system
charges the agent's process; readings are counted by the collector, when they are committed. Everything is
measured `ROUNDS` times in turn, and the least of each counts, for what else the machine does only adds to it.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.meters import PROFILE_FILE, REGISTERS
from demo.house import answers, free_port
from demo.processes import Part, PartFailed, command, module, program

ENDPOINTS = 10
STEADY_METERS = 10  # at each endpoint: 100 meters, 2 000 readings a second
SLOW_S = 10  # the usual period; 100 meters of 20 registers have as many points as 50 devices of 40
MANY_METERS = 100  # at each endpoint: 1 000 meters, as many as one core can read each second, or more
ROUNDS = 2
WARM_UP_S = 4.0
MEASURE_S = 12.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Microseconds of processor time for each reading, and readings per second of real time."""

    us: float  # first, for the least counts
    per_s: float
    memory_mb: float = 0.0  # resident


@dataclass(frozen=True, slots=True)
class Result:
    """The loop that everything is compared with, and the agent at two rates."""

    bare: Run
    steady: Run  # 100 meters each second
    full: Run  # 1 000 meters each second, or as many of them as one core can
    usual: Run  # 100 meters every 10 s

    def times_bare(self, run: Run) -> float:
        """How often the bare loop's processor time a run takes."""
        return run.us / self.bare.us

    @property
    def worst(self) -> float:
        """Of the agent's rates."""
        return max(self.times_bare(self.steady), self.times_bare(self.full))


async def measure() -> Result:
    """Runs two to three minutes."""
    cores = sorted(os.sched_getaffinity(0))
    bares, steadies, fulls, usuals = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
            bares.append(await _bare(Path(name), cores))
            steadies.append(await _agent(Path(name) / "steady", cores, STEADY_METERS))
            fulls.append(await _agent(Path(name) / "full", cores, MANY_METERS))
            usuals.append(await _agent(Path(name) / "usual", cores, STEADY_METERS, period_s=SLOW_S))
    return Result(min(bares), min(steadies), min(fulls), min(usuals))


async def _bare(folder: Path, cores: list[int]) -> Run:
    meters = Part("meters", module("bench.meters", str(ENDPOINTS), str(STEADY_METERS)), folder / "meters.log")
    await meters.start()
    try:
        _pin(meters, cores[0])
        ports = (await meters.first_line())["ports"]
        wanted = {
            "seconds": MEASURE_S,
            "host": "127.0.0.1",
            "ports": ports,
            "units": list(range(1, STEADY_METERS + 1)),
            "count": REGISTERS,
        }
        loop = Part("bare loop", module("bench.bare", json.dumps(wanted)), folder / "bare.log")
        await loop.start()
        _pin(loop, cores[-1])
        result: dict[str, Any] = await loop.first_line()
        await loop.stop()
    finally:
        await meters.stop()
    readings = result["requests"] * REGISTERS
    return Run(1e6 * result["cpu_s"] / readings, readings / result["wall_s"])


async def _agent(folder: Path, cores: list[int], meters_each: int, *, period_s: int = 1) -> Run:
    await asyncio.to_thread(folder.mkdir)
    async with AsyncExitStack() as opened:
        meters = Part(
            "meters", module("bench.meters", str(ENDPOINTS), str(meters_each)), folder / "meters.log"
        )
        opened.push_async_callback(meters.stop)
        await meters.start()
        home, config = folder / "collector", folder / "gateway.yaml"
        port, http_port = free_port(), free_port()
        await command(
            *("collector", "init", "--dir", str(home), "--site", "bench", "--site-name", "bench"),
            *("--url", f"https://127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(port)),
            *("--http-port", str(http_port)),
        )
        collector = Part(
            "collector", program("collector", "serve", "--dir", str(home)), folder / "collector.log"
        )
        opened.push_async_callback(collector.stop)
        await collector.start()
        await answers(f"http://127.0.0.1:{http_port}/readyz", collector)
        ports = (await meters.first_line())["ports"]
        await asyncio.to_thread(_write_config, config, ports, meters_each, period_s)
        made = await command(
            "collector", "enrollment-token", "--dir", str(home), "--site", "bench", "--name", "bench"
        )
        await command("edge-agent", "enroll", made["token"], "--config", str(config))
        agent = Part(
            "edge agent", program("edge-agent", "run", "--config", str(config)), folder / "agent.log"
        )
        opened.push_async_callback(agent.stop)
        await agent.start()
        for part in (meters, collector):
            _pin(part, cores[0])
        _pin(agent, cores[-1])
        token = await command(
            "collector", "api-token", "--dir", str(home), "--name", "bench", "--scope", "read"
        )
        http = await opened.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{http_port}",
                headers={"Authorization": f"Bearer {token['token']}"},
                trust_env=False,
            )
        )
        await _first_reading(http, agent)
        await asyncio.sleep(WARM_UP_S)
        before = await _next_batch(http, agent)
        cpu, began = _cpu_s(agent), time.monotonic()
        await asyncio.sleep(MEASURE_S)
        readings = await _next_batch(http, agent) - before
        took, cpu = time.monotonic() - began, _cpu_s(agent) - cpu
        agent.check()
        return Run(1e6 * cpu / readings, readings / took, _memory_mb(agent))


def _write_config(file: Path, ports: list[int], meters_each: int, period_s: int) -> None:
    profiles = file.parent / "profiles"
    profiles.mkdir()
    (profiles / PROFILE_FILE.name).write_bytes(PROFILE_FILE.read_bytes())
    document = {
        "gateway": {"state_dir": "state", "profiles_dir": "profiles"},
        "health": {"host": "127.0.0.1", "port": free_port()},
        "buses": [
            {"id": f"bus-{n}", "modbus_tcp": {"host": "127.0.0.1", "port": port}}
            for n, port in enumerate(ports)
        ],
        "devices": [
            {
                "id": f"meter-{n}-{unit}",
                "bus": f"bus-{n}",
                "unit": unit,
                "profile": "bench-meter20",
                "period_s": period_s,
            }
            for n in range(len(ports))
            for unit in range(1, meters_each + 1)
        ],
    }
    file.write_text(yaml.safe_dump(document))


async def _first_reading(http: httpx.AsyncClient, agent: Part) -> None:
    for _ in range(150):
        if await _stored(http):
            return
        agent.check()
        await asyncio.sleep(0.2)
    raise PartFailed("nothing of the agent has reached the collector in 30 s")


async def _next_batch(http: httpx.AsyncClient, agent: Part) -> int:
    """How many readings are stored right after another batch has come, so that no part of one is counted."""
    before = await _stored(http)
    for _ in range(600):
        if (now := await _stored(http)) > before:
            return now
        agent.check()
        await asyncio.sleep(0.05)
    raise PartFailed("no batch of the agent has reached the collector in 30 s")


async def _stored(http: httpx.AsyncClient) -> int:
    """How many readings the collector says it has stored."""
    reply = await http.get("/metrics")
    reply.raise_for_status()
    found = re.search(r"^gatehouse_items_accepted_total (\S+)", reply.text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _pin(part: Part, core: int) -> None:
    os.sched_setaffinity(part.pid, {core})


def _cpu_s(part: Part) -> float:
    fields = Path(f"/proc/{part.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _memory_mb(part: Part) -> float:
    status = Path(f"/proc/{part.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    print(asyncio.run(measure()), file=sys.stderr)
