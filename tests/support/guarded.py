"""A building with a door and a meter, the gateway for them, and the collector that may tell it what to do."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from edge_agent.app import run_agent
from edge_agent.config import Config, load_config
from edge_agent.control.on_site import SOCKET
from edge_agent.identity.enroll import enroll
from models.times import Clock
from simulators.access.controller import SimulatedController
from tests.support.doors import a_controller, a_section
from tests.support.running import RunningCollector, new_home, running

CONFIG: Final = """\
gateway: {{profiles_dir: profiles}}
health: {{port: 0}}
uplink: {{live_every_s: 1}}
commands: {{allow: [{allow}]}}
buses:
{bus}
{meter_bus}
devices:
  - {{id: door-01, bus: gate, profile: hikvision-access, period_s: 60}}
{meter}
"""
METER: Final = "  - {id: meter-01, bus: rack, unit: 7, profile: thermostat, period_s: 3600}"
THERMOSTAT: Final = """\
profile: thermostat
version: "1"
title: A thermostat
family: modbus
verified: false
source: made up for tests
modbus: {reply_timeout_s: 1.0, retries: 1}
points:
  - {name: setpoint_c, unit: "°C", kind: gauge, table: holding, address: 5, type: int16, scale: 0.1,
     decimals: 1, writable: {min: 5, max: 30}}
  - {name: room_c, unit: "°C", kind: gauge, table: holding, address: 6, type: int16, scale: 0.1, decimals: 1}
"""
FINAL: Final = ("done", "refused", "failed", "expired")

REAL: Final = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic, asyncio.sleep)


@dataclass
class Building:
    """All of it, with the agent running only inside `agent`."""

    folder: Path
    clock: Clock
    collector: RunningCollector
    door: SimulatedController
    config: Config
    client: httpx.AsyncClient

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(run_agent(self.config, clock=self.clock, stop=stop), name="agent")
        try:
            while not (self.config.state_dir / SOCKET).exists():  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0.01)
            yield
        finally:
            stop.set()
            await task

    @property
    def moved(self) -> list[str]:
        """What the controller was told to do with its doors."""
        return [target for method, target in self.door.requests if "RemoteControl" in target]

    async def give(
        self,
        key: str,
        action: str = "open_once",
        arguments: Mapping[str, Any] | None = None,
        *,
        to: str = "door-01",
        life_s: float = 60,
    ) -> httpx.Response:
        body = {"action": action, "arguments": arguments or {"door": 1}, "expires_in_s": life_s}
        at = f"/api/v1/devices/a1/{await self._number(to)}/commands"
        return await self.client.post(at, json=body, headers={"idempotency-key": key})

    async def outcome(self, key: str) -> dict[str, Any]:
        """The command, once it has come to an end."""
        return await self._until(f"/api/v1/commands/a1/{key}", lambda told: told.get("state") in FINAL)

    async def commands(self, least: int) -> list[dict[str, Any]]:
        """All on record, once there are so many."""
        listed = await self._until("/api/v1/commands", lambda told: len(told.get("items", ())) >= least)
        found: list[dict[str, Any]] = listed["items"]
        return found

    async def _number(self, device_id: str) -> int:
        def known(told: dict[str, Any]) -> dict[str, int]:
            return {item["device_id"]: item["id"] for item in told.get("items", ())}

        return known(await self._until("/api/v1/devices", lambda told: device_id in known(told)))[device_id]

    async def _until(self, address: str, is_there: Any) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                told: dict[str, Any] = (await self.client.get(address)).json()
                if is_there(told):
                    return told
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def a_building(
    folder: Path, clock: Clock = REAL, *, allow: str = "doors", meter_port: int | None = None
) -> AsyncIterator[Building]:
    """With a thermostat too, when one listens at that port: unit 7, to be set at register 5."""
    home = await new_home(folder / "collector")
    section = a_section(streams=False)
    async with running(home, clock) as collector, a_controller(section, clock) as door:
        file = folder / "gateway.yaml"
        has_meter = meter_port is not None
        rack = f"  - {{id: rack, modbus_tcp: {{host: 127.0.0.1, port: {meter_port}}}}}" if has_meter else ""
        meter = METER if has_meter else ""
        [gate] = door.buses("gate")
        bus = f"  - {json.dumps(gate)}"
        file.write_text(CONFIG.format(bus=bus, meter_bus=rack, meter=meter, allow=allow))
        (folder / "profiles").mkdir()
        (folder / "profiles" / "thermostat.yaml").write_text(THERMOSTAT)
        for name, secret in door.secret_files.items():
            (folder / name).write_text(secret)
            (folder / name).chmod(0o600)
        config = load_config(file)
        token = await collector.enrollment_token()
        await asyncio.to_thread(enroll, token, state_dir=config.state_dir)
        caller = await collector.api_token("read", "commands:write")
        async with collector.client() as client:
            client.headers["authorization"] = f"Bearer {caller}"
            yield Building(folder, clock, collector, door, config, client)
