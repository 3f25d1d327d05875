"""Whichever collector is killed, and when: what is shared is at the area once, and nothing is missing."""

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from collector.identity.home import Home
from collector.serve import Listening
from tests.support.running import RunningCollector
from tests.support.tiers import Gateway, books, gateways_at, new_tiers


class Killable:
    """A collector as its command runs it, started again after each kill."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> RunningCollector:
        command = [sys.executable, "-m", "collector.cli", "serve", "--json", "--dir", str(self.home.folder)]
        self._child = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert self._child.stdout is not None
        serving = json.loads(await self._child.stdout.readline())["serving"]
        return RunningCollector(self.home, Listening(serving["port"], serving["http_port"]))

    async def kill(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGKILL)
            await self._child.communicate()


@contextlib.asynccontextmanager
async def killable(home: Home) -> AsyncIterator[Killable]:
    one = Killable(home)
    try:
        yield one
    finally:
        await one.kill()


async def send_until_all_is_stored(gateway: Gateway, batches: int) -> None:
    """As a gateway does: the same envelope again, until the county has said that it holds it."""
    sealed = [gateway.seal() for _ in range(batches)]
    while sealed:
        try:
            await gateway.deliver(sealed[0].body)
        except httpx.TransportError:
            await asyncio.sleep(0.1)  # it is not up again
        else:
            gateway.sent.append(sealed.pop(0))
            await asyncio.sleep(0.03)  # the kills are to fall between batches too


@pytest.mark.parametrize(
    ("kills", "batches"),
    [pytest.param(4, 15, id="few"), pytest.param(60, 300, id="many", marks=pytest.mark.soak)],
)
async def test_kills_of_both_collectors_lose_nothing_and_double_nothing(
    tmp_path: Path, lab_seed: int, kills: int, batches: int
) -> None:
    rng = random.Random(lab_seed)
    tiers = await new_tiers(tmp_path)
    tiers.settle(share={"sites": ["hall", "annex"]})
    async with killable(tiers.area) as area, killable(tiers.county) as county:
        await tiers.belong(await area.start())
        known = await gateways_at(await county.start(), tmp_path, "hall", "annex")
        sending = [asyncio.create_task(send_until_all_is_stored(gateway, batches)) for gateway in known]
        for number in range(kills):
            await asyncio.sleep(rng.uniform(0.05, 0.8))
            victim = (area, county)[number % 2]
            await victim.kill()
            await victim.start()
        await asyncio.gather(*sending)
        await tiers.until_all_is_there(*known)
        await area.kill()
        await county.kill()
    there = await books(tiers.area, *known, prefix="cx:")
    assert there == await books(tiers.county, *known)
    assert len(there["envelopes"]) == 2 * batches
