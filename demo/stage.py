"""Sets the stage: a collector, two gateways with what they read, and the network between them."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from demo.clock import FastClock, Pace
from demo.files import empty
from demo.house import House, answers, free_port, open_house
from demo.processes import Part, command, module
from demo.sinks import Received, sinks
from simulators.lab.network import Network, network

READ_EVERY_S = 3600  # simulated: a sweep of all meters in no time


@dataclass(slots=True)
class Stage:
    """Everything that plays, once it is up."""

    folder: Path
    clock: FastClock
    start_ms: int
    collector: Part
    network: Network  # between the agents and the collector
    received: Received
    page: str
    token: str
    houses: list[House]
    open_annex: Callable[[bool], Awaitable[None]]
    """A second gateway, with one of everything; True: at the time that it is elsewhere, too."""

    def check(self) -> None:
        """Raise PartFailed when a part has ended that nobody killed."""
        self.collector.check()
        for house in self.houses:
            house.check()

    async def collector_is_ready(self) -> None:
        """Return once the collector serves."""
        await answers(f"{self.page}/readyz", self.collector)


@asynccontextmanager
async def stage(folder: Path, pace: Pace, annex: Pace, *, http_port: int) -> AsyncIterator[Stage]:
    """Build everything anew in `folder` and run it while the block does. `http_port` 0: a free one."""
    empty(folder)
    async with AsyncExitStack() as opened:
        received = await opened.enter_async_context(sinks())
        port, http_port = free_port(), http_port or free_port()
        net = await opened.enter_async_context(network("127.0.0.1", port))
        page = f"http://127.0.0.1:{http_port}"
        home = folder / "collector"
        await _make_collector(home, net.port, port, http_port, received)
        collector = Part(
            "collector", module("demo.collector", pace.encode(), str(home)), folder / "collector.log"
        )
        opened.push_async_callback(collector.stop)
        await collector.start()
        await answers(f"{page}/readyz", collector)
        scopes = ("--scope", "read", "--scope", "alerts:write")
        token = await command("collector", "api-token", "--dir", str(home), "--name", "demo", *scopes)
        houses: list[House] = []

        async def open_annex(at_the_same_time: bool) -> None:
            at = folder / "annex"
            houses.append(
                await open_house(
                    opened,
                    at,
                    annex,
                    scenario="building",
                    every_s=None,
                    collector=home,
                    name="门厅网关",
                    begins_at=FastClock(pace).clock().now_ms if at_the_same_time else lambda: annex.start_ms,
                )
            )

        houses.append(
            await open_house(
                opened,
                folder / "office",
                pace,
                scenario="office",
                every_s=READ_EVERY_S,
                collector=home,
                name="机房网关",
                begins_at=lambda: pace.start_ms,
            )
        )
        yield Stage(
            folder=folder,
            clock=FastClock(pace),
            start_ms=pace.start_ms,
            collector=collector,
            network=net,
            received=received,
            page=page,
            token=token["token"],
            houses=houses,
            open_annex=open_annex,
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
