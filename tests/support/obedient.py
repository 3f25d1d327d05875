"""Buses that do what they are told, and note it; and a process that obeys until it is killed.

As a process: each line of output is one thing that is certain, `given N` before a command is submitted,
`moved c-N` once a device has moved, `ended N STATE` once the outcome is stored. It reads nothing and ends
only with a signal.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.contract import DeviceState
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.control.executor import Executor
from edge_agent.control.orders import Order
from edge_agent.sink import BufferSink
from tests.support.appending import CLOCK, say
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS


@dataclass
class ObedientBus:
    """A `edge_agent.buses.contract.Bus` whose devices do anything, unless `fails` or while `gate` is shut."""

    bus: str = "rack"
    devices: Sequence[str] = ("door-01",)
    acts: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    fails: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # set once something has been told
    on_act: Callable[[str], None] = lambda key: None
    answered_ms: int | None = 0
    takes_s: float = 0  # in real time, for whoever is to be killed meanwhile

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def states(self) -> Sequence[DeviceState]:
        return [DeviceState(device, answered_ms=self.answered_ms) for device in self.devices]

    async def run(self) -> None:
        return None

    def stop(self) -> None:
        return None

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.begun.set()
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        self.on_act(str(arguments.get("key", "")))
        await asyncio.sleep(self.takes_s)
        self.acts.append((device_id, action, dict(arguments)))
        return {"confirmed": True}


def an_order(number: int = 1, **changed: Any) -> Order:
    """Odd ones open a door, which may not be repeated; even ones lock it."""
    fields: dict[str, Any] = {
        "id": f"c-{number}",
        "device_id": "door-01",
        "action": "open_once" if number % 2 else "lock",
        "arguments": {"door": 1},
        "by": "duty desk",
        "origin": "collector",
        "expires_ms": START_MS + 60_000,
    }
    return Order(**fields | changed)


def executor_on(buffer: SqliteBuffer, *buses: ObedientBus, clock: Any) -> Executor:
    """As the agent puts it together."""
    return Executor(
        lambda: buses,
        note=lambda marks: buffer.append([], marks),
        sink=BufferSink(buffer, clock),
        clock=clock,
    )


def moving(effects: Path, told: Callable[[str, str], None] = lambda what, key: None) -> ObedientBus:
    """A bus whose devices really move: each act is a line in a file, and on disk when it returns."""

    def move(key: str) -> None:
        with effects.open("ab") as file:
            file.write(f"{key}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        told("moved", key)

    return ObedientBus(on_act=move, takes_s=0.01)


async def obey(folder: Path, given_before: int) -> None:
    bus = moving(folder / "effects", say)
    async with (
        await open_buffer(folder / "buffer.db", CLOCK, window_s=0.001) as buffer,
        asyncio.TaskGroup() as tasks,
    ):
        executor = executor_on(buffer, bus, clock=CLOCK)
        await executor.begin()
        tasks.create_task(executor.run())
        for number in itertools.count(1):
            if number > given_before:
                say("given", number)
            ended = await executor.submit(an_order(number, expires_ms=CLOCK.now_ms() + 3_600_000))
            if ended is not None:
                say("ended", number, (await ended).state)


if __name__ == "__main__":
    asyncio.run(obey(Path(sys.argv[1]), int(sys.argv[2])))
