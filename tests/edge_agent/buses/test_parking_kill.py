"""Uplinks are stored once and each change of a bay told once, however often the gateway is killed."""

import asyncio
import random
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path

import aiomqtt

from models.reading import Event, Reading
from simulators.parking.broker import local_broker
from tests.support.buffers import open_buffer
from tests.support.chirpstack import an_uplink, topic
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, drain
from tests.support.needs import needs_mosquitto

ROOT = Path(__file__).parents[3]
EUIS = [f"000000000000000{n}" for n in range(4)]
SIGNAL = "00000000000000ff"
KILLS, MORE = 4, 60  # uplinks of each sensor in each life
PATIENCE_S = 20.0


async def live(path: Path, port: int) -> asyncio.subprocess.Process:
    """One life of the gateway."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.listening_to_bays", str(path), str(port), *EUIS, SIGNAL,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def stored(process: asyncio.subprocess.Process, *, times: int = 1, device: str = "") -> None:
    """Wait until something (of a device) was stored so often."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while times:
            line = await process.stdout.readline()
            assert line, "the gateway ended by itself"
            times -= device in line.decode().split() if device else 1


@needs_mosquitto
async def test_a_gateway_that_is_killed_in_a_stream_of_uplinks_loses_and_doubles_none(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer
) -> None:
    path, rng = tmp_path / "buffer.db", random.Random(5)
    began_ms = time.time_ns() // 1_000_000 - 1_000_000
    sent = dict.fromkeys(EUIS, 0)

    async def publish(port: int) -> None:
        at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        async with aiomqtt.Client("127.0.0.1", port, socket_options=at_once) as client:
            for _ in range(MORE):
                for eui in EUIS:
                    n = sent[eui]
                    sent[eui] += 1
                    body = an_uplink(n, "01" if n % 2 else "00", eui=eui, at_ms=began_ms + 1000 * n)
                    await client.publish(topic("up", eui), body, qos=1)

    async def signal(port: int, process: asyncio.subprocess.Process, number: int) -> None:
        """Return once the gateway has stored the uplink of a sensor that is there for that alone."""
        async with aiomqtt.Client("127.0.0.1", port) as client:
            heard = asyncio.create_task(stored(process, device=f"bay-{SIGNAL}"))
            while not heard.done():
                await client.publish(topic("up", SIGNAL), an_uplink(number, eui=SIGNAL), qos=1)
                await asyncio.wait([heard], timeout=0.05)
            await heard

    async with local_broker() as broker:
        gateway = await live(path, broker.port)
        await signal(broker.port, gateway, 0)  # from now on the broker keeps everything for it
        for _ in range(KILLS):
            publishing = asyncio.create_task(publish(broker.port))
            await stored(gateway, times=rng.randint(1, 3))
            gateway.kill()
            await gateway.wait()
            await publishing
            gateway = await live(path, broker.port)
        await signal(broker.port, gateway, 1)  # which came last, so all before it is stored
        gateway.kill()
        await gateway.wait()
    async with await open_buffer(path, clock.clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        items = await drain(outbox, sealer)
    told: dict[str, list[int]] = defaultdict(list)
    changes: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if isinstance(item, Reading) and item.point == "occupied":
            told[item.device_id].append((item.measured_ms - began_ms) // 1000)
        elif isinstance(item, Event):
            changes[item.device_id].append(item.data["state"])
    for eui in EUIS:
        assert told[f"bay-{eui}"] == list(range(KILLS * MORE))
        assert changes[f"bay-{eui}"] == ["free", "occupied"] * (KILLS * MORE // 2)
