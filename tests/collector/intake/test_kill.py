"""What was acknowledged is there, whenever the collector is killed."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from collector.identity.home import Home
from collector.serve import Listening
from collector.store.engine import Store
from collector.store.schema import envelope, reading
from models.envelope import Sealed
from models.protocol import Receipt
from models.reading import Item
from tests.support.collector import Sender, a_reading
from tests.support.running import RunningCollector, new_home, real_now_ms

BATCHES = 40
READINGS = 50


@contextlib.asynccontextmanager
async def process(home: Home) -> AsyncIterator[tuple[asyncio.subprocess.Process, RunningCollector]]:
    """The collector as its command runs it."""
    command = [sys.executable, "-m", "collector.cli", "serve", "--json", "--dir", str(home.folder)]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert child.stdout is not None
    try:
        serving = json.loads(await child.stdout.readline())["serving"]
        yield child, RunningCollector(home, Listening(serving["port"], serving["http_port"]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def send(client: httpx.AsyncClient, sealed: Sealed) -> Receipt:
    answer = await client.post("/gateway/v1/batches", content=sealed.body)
    assert answer.status_code == 200, answer.text
    return Receipt.model_validate_json(answer.text)


async def stored(home: Home) -> dict[int, bytes]:
    """Digests by number, read by a collector that starts after the kill."""
    async with await Store.open(home.database) as store, store.read() as connection:
        rows = (await connection.execute(envelope.select())).all()
        readings = (await connection.execute(reading.select())).all()
    assert len(readings) == READINGS * len(rows)  # no batch is there in part
    return {row.number: row.digest for row in rows}


async def test_every_acknowledged_batch_survives_sigkill(tmp_path: Path) -> None:
    home = await new_home(tmp_path / "collector")
    acknowledged: dict[int, Receipt] = {}
    sealed: dict[int, Sealed] = {}

    async def send_until_killed(
        client: httpx.AsyncClient, numbers: list[int], child: asyncio.subprocess.Process, limit: int
    ) -> None:
        with contextlib.suppress(httpx.TransportError):
            while numbers:
                number = numbers.pop(0)
                acknowledged[number] = await send(client, sealed[number])
                if len(acknowledged) == limit:
                    child.kill()

    sender: Sender | None = None
    certificate = tmp_path / "none"
    for round_number in (1, 2):
        async with process(home) as (child, collector):
            if sender is None:
                sender, certificate = await collector.enrol(tmp_path)
                sealed = {n: sender.seal(batch(n)) for n in range(1, BATCHES + 1)}
            async with collector.client(certificate) as client:
                path = f"/gateway/v1/keys/{sender.content_key.key_id.hex()}"
                await client.put(path, content=sender.package)
                waiting = [n for n in sealed if n not in acknowledged]
                await asyncio.gather(
                    *(send_until_killed(client, waiting, child, 10 * round_number) for _ in range(4))
                )
            assert await child.wait() == -signal.SIGKILL
        there = await stored(home)
        assert {n: there.get(n) for n in acknowledged} == {n: sealed[n].digest for n in acknowledged}

    assert sender is not None
    async with process(home) as (child, collector), collector.client(certificate) as client:
        before = await stored(home)
        receipts = {n: await send(client, sealed[n]) for n in sealed}
        assert {n for n, receipt in receipts.items() if receipt.already} == set(before)
        assert set(acknowledged) <= set(before)
        assert receipts[BATCHES].high_water == BATCHES * READINGS
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
    assert len(await stored(home)) == BATCHES


def batch(number: int) -> list[Item]:
    at_ms = real_now_ms() - 1000 * number * READINGS
    return [a_reading(float(i), at_ms=at_ms + i) for i in range(READINGS)]
