"""A gateway of the demonstration with everything that it reads, each in a process of its own."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.clock import Pace
from demo.files import gateway_yaml
from demo.processes import Part, PartFailed, command, module

_READY_WITHIN_S = 60.0
_LISTENS_WITHIN_S = 1.0


@dataclass(slots=True)
class House:
    """What is simulated, the agent that reads it, and the ledger of what was shown."""

    simulated: Part
    agent: Part
    ledger: Path
    config: Path
    health_port: int

    def check(self) -> None:
        """Raise PartFailed when a part has ended that nobody killed."""
        for part in (self.simulated, self.agent):
            part.check()

    async def agent_is_ready(self) -> None:
        """Return once the agent runs."""
        await answers(f"http://127.0.0.1:{self.health_port}/readyz", self.agent)


async def open_house(
    opened: AsyncExitStack,
    folder: Path,
    pace: Pace,
    *,
    scenario: str,
    every_s: float | None,
    collector: Path,
    name: str,
    begins_at: Callable[[], int],
    agent_of: Callable[[Path], Sequence[str]] | None = None,
) -> House:
    """Build it in `folder`, enrol it, and let its time begin. `every_s`: how often all of it is read;
    `begins_at` says what time it is then; `agent_of` what starts an agent with a configuration file.

    Raises PartFailed.
    """
    await asyncio.to_thread(folder.mkdir, parents=True)
    ledger, config = folder / "shown.ledger", folder / "gateway.yaml"
    arguments = (pace.encode(), str(ledger), scenario, str(folder))
    simulated = Part(f"simulated {scenario}", module("demo.meters", *arguments), folder / "simulated.log")
    opened.push_async_callback(simulated.stop)
    await simulated.start()
    told = await simulated.first_line()
    health_port = free_port()
    await asyncio.to_thread(
        config.write_text, gateway_yaml(told["buses"], told["devices"], health_port, every_s)
    )
    token = await command(
        "collector", "enrollment-token", "--dir", str(collector), "--site", "tower", "--name", name
    )
    await command("edge-agent", "enroll", token["token"], "--config", str(config))
    agent = Part(
        f"agent of {scenario}",
        agent_of(config) if agent_of else module("demo.agent", pace.encode(), str(config)),
        folder / "agent.log",
        told["environment"],
    )
    opened.push_async_callback(agent.stop)
    await agent.start()
    house = House(simulated, agent, ledger, config, health_port)
    await house.agent_is_ready()
    await asyncio.sleep(_LISTENS_WITHIN_S)  # what is said before it listens, it cannot hear
    await asyncio.to_thread(pace.begin, begins_at())
    return house


async def answers(url: str, part: Part) -> None:
    """Return once it does. Raise PartFailed when it takes too long, or the part has ended."""
    deadline = time.monotonic() + _READY_WITHIN_S
    async with httpx.AsyncClient(trust_env=False) as http:
        while time.monotonic() < deadline:
            part.check()
            with contextlib.suppress(httpx.TransportError):  # not listening yet
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
    raise PartFailed(f"the {part.name} is not ready after {_READY_WITHIN_S:g} s")


def free_port() -> int:
    [port] = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """All different."""
    with contextlib.ExitStack() as opened:
        probes = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
