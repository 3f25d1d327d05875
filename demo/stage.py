"""Sets the stage: a collector, simulated meters, an enrolled agent, and the network between them."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from demo.clock import FastClock, Pace
from demo.files import empty, gateway_yaml
from demo.processes import Part, PartFailed, command, module
from demo.sinks import Received, sinks
from simulators.network import Network, network
from simulators.scenario import Scenario, shipped_scenario

_READY_WITHIN_S = 30.0


@dataclass(slots=True)
class Stage:
    """Everything that plays, once it is up."""

    folder: Path
    scenario: Scenario
    clock: FastClock
    start_ms: int
    meters: Part
    collector: Part
    agent: Part
    network: Network  # between agent and collector
    received: Received
    page: str
    token: str
    ledger: Path

    def check(self) -> None:
        """Raise PartFailed when a part has ended that nobody killed."""
        for part in (self.meters, self.collector, self.agent):
            part.check()

    async def collector_is_ready(self) -> None:
        """Return once the collector serves."""
        await _ready(self.page, self.collector)


@asynccontextmanager
async def stage(folder: Path, pace: Pace, *, http_port: int) -> AsyncIterator[Stage]:
    """Build everything anew in `folder` and run it while the block does. `http_port` 0: a free one."""
    empty(folder)
    scenario = shipped_scenario("office")
    async with AsyncExitStack() as opened:
        received = await opened.enter_async_context(sinks())
        port, http_port = _free_port(), http_port or _free_port()
        net = await opened.enter_async_context(network("127.0.0.1", port))
        page = f"http://127.0.0.1:{http_port}"
        home = folder / "collector"
        await _make_collector(home, net.port, port, http_port, received)

        ledger = folder / "meters.ledger"
        meters = Part(
            "meters",
            module("demo.meters", pace.encode(), str(ledger)),
            folder / "meters.log",
        )
        collector = Part(
            "collector", module("demo.collector", pace.encode(), str(home)), folder / "collector.log"
        )
        config = folder / "gateway.yaml"
        agent = Part("edge agent", module("demo.agent", pace.encode(), str(config)), folder / "agent.log")
        for part in (meters, collector):
            opened.push_async_callback(part.stop)
            await part.start()
        ports = (await meters.first_line())["ports"]
        config.write_text(gateway_yaml(scenario, ports, _free_port()))
        await _ready(page, collector)

        made = await command(
            "collector", "enrollment-token", "--dir", str(home), "--site", "tower", "--name", "机房网关"
        )
        await command("edge-agent", "enroll", made["token"], "--config", str(config))
        scopes = ("--scope", "read", "--scope", "alerts:write")
        token = await command("collector", "api-token", "--dir", str(home), "--name", "demo", *scopes)
        opened.push_async_callback(agent.stop)
        await agent.start()
        await asyncio.to_thread(pace.begin)
        yield Stage(
            folder=folder,
            scenario=scenario,
            clock=FastClock(pace),
            start_ms=pace.start_ms,
            meters=meters,
            collector=collector,
            agent=agent,
            network=net,
            received=received,
            page=page,
            token=token["token"],
            ledger=ledger,
        )


async def _make_collector(
    home: Path, public_port: int, port: int, http_port: int, received: Received
) -> None:
    await command(
        "collector", "init", "--dir", str(home), "--url", f"https://127.0.0.1:{public_port}",
        "--host", "127.0.0.1", "--port", str(port), "--http-port", str(http_port),
        "--site", "tower", "--site-name", "市民中心办公楼",
    )  # fmt: skip
    file = home / "collector.yaml"
    settings = yaml.safe_load(file.read_text())
    hook = f"http://127.0.0.1:{received.hook_port}/alerts"
    settings["receivers"] = [
        {"kind": "webhook", "name": "platform", "url": hook, "secret": secrets.token_urlsafe(24)},
        {"kind": "email", "name": "duty", "host": "127.0.0.1", "port": received.mail_port, "security": "none",
         "sender": "gatehouse@example.org", "to": ["duty@example.org"]},
    ]  # fmt: skip
    # A second of the demonstration is half an hour: a restart must not look like a silent gateway.
    settings["detectors"]["silent_gateway"]["after_minutes"] = 1440
    file.write_text(yaml.safe_dump(settings, allow_unicode=True))


async def _ready(page: str, collector: Part) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    async with httpx.AsyncClient(trust_env=False) as http:
        while time.monotonic() < deadline:
            collector.check()
            try:
                if (await http.get(f"{page}/readyz")).is_success:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            await asyncio.sleep(0.1)
    raise PartFailed(f"the collector is not ready after {_READY_WITHIN_S:g} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
