"""Sets the stage: a building of simulated meters, its agent, a collector, and the lab between them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.clock import Leg, Pace
from demo.files import empty
from demo.house import House, answers, free_ports, open_house
from demo.processes import Part, command, module, program
from edge_agent.identity.folder import GATEWAY, MAIN, identity_folder
from simulators.lab.front import Front, front
from simulators.lab.network import Network, network
from soak.memory import now_ms

READ_EVERY_S = 2.0
SCENARIO = "office"
SITE = "tower"  # where `demo.house` enrols


@dataclass(slots=True)
class Stage:
    """Everything, once it is up."""

    collector: Part
    house: House
    network: Network  # before the front
    front: Front  # before the collector
    page: str
    token: str
    start_ms: int

    async def collector_is_ready(self) -> None:
        await answers(f"{self.page}/readyz", self.collector)


@asynccontextmanager
async def stage(folder: Path, seed: int, *, every_s: float = READ_EVERY_S) -> AsyncIterator[Stage]:
    """Build everything anew in `folder` and run it while the block does; meters are read `every_s`.

    Raises PartFailed.
    """
    empty(folder)
    start_ms = now_ms()
    pace = Pace(str(folder / "start"), start_ms, (Leg(0, 1.0),))
    home, house_folder = folder / "collector", folder / "house"
    async with AsyncExitStack() as opened:
        port, http_port, front_port, public_port = free_ports(4)
        net = await opened.enter_async_context(network("127.0.0.1", front_port, port=public_port, seed=seed))
        await command(
            "collector", "init", "--dir", str(home), "--url", f"https://127.0.0.1:{net.port}",
            "--host", "127.0.0.1", "--port", str(port), "--http-port", str(http_port),
            "--site", SITE, "--site-name", "市民中心办公楼",
        )  # fmt: skip
        page = f"http://127.0.0.1:{http_port}"
        collector = Part(
            "collector", program("collector", "serve", "--dir", str(home)), folder / "collector.log"
        )
        opened.push_async_callback(collector.stop)
        await collector.start()
        await answers(f"{page}/readyz", collector)
        certificate = identity_folder(house_folder / "state", MAIN) / GATEWAY

        def as_gateway() -> ssl.SSLContext:
            context = ssl.create_default_context(cafile=home / "ca.pem")
            if certificate.exists():
                context.load_cert_chain(certificate)
            return context

        as_collector = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        await asyncio.to_thread(as_collector.load_cert_chain, home / "server.pem")
        before = await opened.enter_async_context(
            front("127.0.0.1", port, tls=as_collector, connect=as_gateway, port=front_port, seed=seed)
        )
        token = await command(
            "collector", "api-token", "--dir", str(home), "--name", "soak", "--scope", "read"
        )
        house = await open_house(
            opened,
            house_folder,
            pace,
            scenario=SCENARIO,
            every_s=every_s,
            collector=home,
            name="机房网关",
            begins_at=now_ms,
            agent_of=lambda config: module("soak.agent", str(config), str(seed)),
        )
        yield Stage(collector, house, net, before, page, token["token"], start_ms)
