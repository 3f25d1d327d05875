"""A configuration on its way from the collector to a real agent, and what the collector then knows."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.config import load_config
from edge_agent.identity.enroll import enroll
from tests.support.clocks import VirtualClock
from tests.support.guarded import REAL
from tests.support.rack import Rack, rack_on_tcp
from tests.support.running import RunningCollector, new_home, running

ROOT = Path(__file__).parents[2]
CONFIG = """\
health: {{port: 0}}
uplink: {{live_every_s: 1}}
configuration: {{allow_push: [main]}}
buses: [{{id: rack, modbus_tcp: {{host: 127.0.0.1, port: {port}}}}}]
devices:
  - {{id: m-01, bus: rack, unit: 1, profile: eastron-sdm630, period_s: 1}}
devices_csv: more.csv
"""
CSV = "id,bus,profile,period_s,unit,name\nm-02,rack,eastron-sdm630,1,2,{name}\n"
CUT_OFF = ("live_every_s: 1", "live_every_s: 1, proxy: 'http://127.0.0.1:1'")


@dataclass
class Town:
    """A collector and a gateway, with the agent as a process of its own."""

    file: Path
    rack: Rack
    collector: RunningCollector
    client: httpx.AsyncClient
    gateway_id: str
    agent: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        line = "from edge_agent.cli import app; app()"
        self.agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", line, "run", "--config", self.file,
            stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    async def end(self, number: int = signal.SIGTERM) -> None:
        if self.agent is not None and self.agent.returncode is None:
            self.agent.send_signal(number)
            await self.agent.wait()

    async def push(self, key: str, files: dict[str, str], **more: Any) -> httpx.Response:
        return await self.client.post(
            f"/api/v1/gateways/{self.gateway_id}/configuration", json={"id": key, "files": files, **more}
        )

    async def settled(self, key: str, *states: str) -> dict[str, Any]:
        """The push, once it is in one of these states."""
        address = f"/api/v1/configurations/a1/{key}"
        return await self._until(address, lambda told: told.get("state") in states)

    async def active(self, version: int) -> dict[str, Any]:
        """What runs, once it is that version of the gateway."""
        address = f"/api/v1/gateways/{self.gateway_id}/configuration"
        return await self._until(address, lambda told: told.get("version") == version)

    async def _until(self, address: str, is_so: Any) -> dict[str, Any]:
        ends_s = time.monotonic() + 60
        while True:
            told: dict[str, Any] = (await self.client.get(address)).json()
            if is_so(told):
                return told
            assert time.monotonic() < ends_s, told
            await asyncio.sleep(0.05)

    def changed(self, old: str, new: str) -> str:
        text = self.file.read_text()
        assert old in text
        return text.replace(old, new)


@contextlib.asynccontextmanager
async def a_town(folder: Path) -> AsyncIterator[Town]:
    home = await new_home(folder / "collector")
    async with rack_on_tcp(VirtualClock()) as rack, running(home, REAL) as collector:
        file = folder / "gateway.yaml"
        file.write_text(CONFIG.format(port=rack.port))
        (folder / "more.csv").write_text(CSV.format(name="Lift"))
        token = await collector.enrollment_token()
        identity = await asyncio.to_thread(enroll, token, state_dir=load_config(file).state_dir)
        caller = await collector.api_token("read", "config:write")
        async with collector.client() as client:
            client.headers["authorization"] = f"Bearer {caller}"
            yield Town(file, rack, collector, client, identity.gateway_id)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with a_town(tmp_path) as town:
        await town.start()
        try:
            await town.active(1)
            yield town
        finally:
            await town.end()


async def test_a_push_is_tried_kept_and_known_and_a_mistake_comes_back_with_its_line(town: Town) -> None:
    files = {
        "gateway.yaml": town.changed("id: m-01", "name: Main, id: m-01"),
        "more.csv": CSV.format(name="Pump"),
    }
    assert (await town.push("p-1", files, why="names")).status_code == 200
    told = await town.settled("p-1", "applied", "refused", "reverted")
    assert told["state"] == "applied", told
    assert {"waiting", "tried", "applied"} <= {change["state"] for change in told["history"]}
    active = await town.active(2)
    assert active["files"] == files
    assert (active["origin"], active["push_id"], active["why"]) == ("collector", "p-1", "names")
    assert active["by"].startswith("test ")
    assert town.file.read_text() == files["gateway.yaml"]
    devices = (await town.client.get("/api/v1/devices")).json()["items"]
    assert {device["name"] for device in devices} == {"Main", "Pump"}

    wrong = town.changed("unit: 1", "unit: 1000") + "commands: {allow: [doors]}\n"
    await town.push("p-2", {"gateway.yaml": wrong})
    refused = await town.settled("p-2", "refused")
    assert refused["code"] == "mistakes"
    assert refused["problems"] == [
        "gateway.yaml:6: devices[m-01].unit: must be less than or equal to 255 (allowed: from 0 up to 255)"
    ]
    assert town.rack.connections == 1


async def test_what_cuts_the_gateway_off_is_taken_back_by_itself(town: Town) -> None:
    before = town.file.read_text()
    await town.push("p-1", {"gateway.yaml": town.changed(*CUT_OFF)}, confirm_within_s=5)
    told = await town.settled("p-1", "reverted", "applied", "refused")
    assert (told["state"], told["code"]) == ("reverted", "not-reached"), told
    assert town.file.read_text() == before
    assert (await town.active(3))["origin"] == "gateway"
    assert town.rack.connections == 1

    # And so it is when the agent is killed meanwhile.
    await town.push("p-2", {"gateway.yaml": town.changed(*CUT_OFF)}, confirm_within_s=3600)
    while town.file.read_text() == before:  # noqa: ASYNC110  # a file rings no bell
        await asyncio.sleep(0.01)
    await town.end(signal.SIGKILL)
    await town.start()
    told = await town.settled("p-2", "reverted", "applied", "refused")
    assert (told["state"], told["code"]) == ("reverted", "restarted"), told
    assert town.file.read_text() == before
