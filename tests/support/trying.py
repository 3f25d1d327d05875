"""A gateway that a configuration is pushed to, with the parts that an agent has for it; made to be killed.

As a process: for each step (or every so many) that a push writes anything in, a copy of the gateway is killed
with SIGKILL right before that step, started again, and offered the same push again. Each line that it says is
what then was, in JSON.
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from drivers.contract import Sink
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.changes import Changes
from edge_agent.config import load_config
from edge_agent.config.bundle import read_bundle
from edge_agent.config.journal import recover
from edge_agent.fleet import Fleet
from edge_agent.reconfigure import Reconfigurer
from edge_agent.sink import BufferSink
from edge_agent.trials import Trials
from models.command import CommandKey
from models.configuration import Pushed, pack_files, sign_configuration
from models.reading import Event
from models.times import Clock
from tests.support.appending import say
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock

GATEWAY_ID: Final = "gw-1"
MAIN: Final = """\
gateway: {profiles_dir: own}
health: {port: 0}
configuration: {allow_push: [main]}
buses: [{id: rack, modbus_tcp: {host: 127.0.0.1, port: 1}}]
devices: [{id: m-01, bus: rack, unit: 1, profile: meter, period_s: 3600}]
devices_csv: more.csv
"""
CSV: Final = "id,bus,profile,period_s,unit,name\nm-02,rack,meter,3600,2,Lift\n"
METER: Final = """\
profile: meter
version: "1"
title: A meter
family: modbus
verified: true
source: this test
modbus: {reply_timeout_s: 5, retries: 0}
points:
  - {name: current_a, unit: A, kind: gauge, table: holding, address: 10, type: uint16, decimals: 0, source: x}
"""
FILES: Final = {"gateway.yaml": MAIN, "more.csv": CSV, "own/meter.yaml": METER}
CHANGED: Final = {
    "gateway.yaml": MAIN.replace("unit: 1", "unit: 3"),
    "more.csv": CSV.replace("Lift", "Pump"),
    "own/meter.yaml": METER.replace('"1"', '"2"'),
    "own/second.yaml": METER.replace("profile: meter", "profile: second"),
}


def in_bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


def a_gateway_folder(folder: Path, files: dict[str, str] = FILES) -> Path:
    """The main file in it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "state").mkdir(exist_ok=True)
    return folder / "gateway.yaml"


def a_push(files: dict[str, str] | None = None, **changed: Any) -> Pushed:
    fields: dict[str, Any] = {
        "id": "p-1",
        "gateway_id": GATEWAY_ID,
        "number": 1,
        "base": "",
        "packed": pack_files(in_bytes(CHANGED if files is None else files)),
        "confirm_s": 120.0,
        "issued_ms": START_MS,
        "expires_ms": START_MS + 3_600_000,
        "issued_by": "li",
        "why": "another meter",
    }
    return Pushed(**fields | changed)


@dataclass
class Gateway:
    """One start of it."""

    fleet: Fleet
    reconfigurer: Reconfigurer
    trials: Trials
    key: CommandKey
    followed: list[Changes]

    @property
    def identity(self) -> Any:
        """What of an identity concerns configurations."""
        collector = SimpleNamespace(command_key=self.key.public_bytes())
        return SimpleNamespace(gateway_id=GATEWAY_ID, collector=collector)

    async def push(self, pushed: Pushed, *, collector: str = "main") -> str | None:
        return await self.take(sign_configuration(pushed, self.key), collector=collector)

    async def take(self, signed: bytes, *, collector: str = "main") -> str | None:
        return await self.trials.take(signed, collector=collector, identity=self.identity)


@contextlib.asynccontextmanager
async def started(file: Path, sink: Sink, clock: Clock, key: CommandKey) -> AsyncIterator[Gateway]:
    """As `edge-agent run` starts it, and until the end of the block."""
    recover(file)
    fleet = Fleet(load_config(file), sink, clock)
    followed: list[Changes] = []

    async def follow(changes: Changes) -> None:
        followed.append(changes)

    reconfigurer = Reconfigurer(fleet, sink=sink, clock=clock, on_changed=follow)
    trials = Trials(fleet, reconfigurer, sink=sink, clock=clock)
    await trials.begin()
    running = asyncio.create_task(fleet.run())
    trying = asyncio.create_task(trials.run())
    try:
        yield Gateway(fleet, reconfigurer, trials, key, followed)
    finally:
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        fleet.stop()
        await running


class _Steps:
    """Counts what is written, and kills the process right before one of these steps."""

    def __init__(self, fatal: int) -> None:
        self._left = fatal

    def watch(self) -> None:
        for name in ("replace", "rename", "unlink"):
            setattr(os, name, self._watched(getattr(os, name)))

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **more: Any) -> Any:
            self.count()
            return call(*given, **more)

        return watched


class _CountingSink(BufferSink):
    """What is stored here is a step as well, and so is what follows it."""

    def __init__(self, buffer: SqliteBuffer, clock: Clock, steps: _Steps) -> None:
        super().__init__(buffer, clock)
        self._steps = steps

    async def put(self, items: Any, marks: Any = None) -> None:
        self._steps.count()
        await super().put(items, marks)
        self._steps.count()


async def _offer(folder: Path, key: CommandKey, *, is_reached: bool, fatal: int = 0) -> dict[str, Any]:
    """Start, offer the push, and wait for its end. With `fatal`, the process does not survive that step."""
    time = VirtualClock()
    file, steps = folder / "gateway.yaml", _Steps(fatal)
    recover(file)
    async with await open_buffer(folder / "state" / "buffer.db", time.clock, window_s=0) as buffer:
        sink = _CountingSink(buffer, time.clock, steps)
        found = _files(file)
        async with started(file, sink, time.clock, key) as gateway:
            if fatal:
                steps.watch()
            taken = await gateway.push(a_push())
            while gateway.trials.is_trying:
                await asyncio.sleep(0.001)
                if is_reached:
                    gateway.trials.heard("main", time.monotonic_s())
                elif gateway.trials.is_waiting:
                    await time.advance(120)
        cut = await (await buffer.outbox("main")).cut(100_000)
    told = [item for item in cut.items if isinstance(item, Event)] if cut else []
    outcomes = [
        event.kind for event in told if event.data.get("id") == "p-1" and event.kind != "config.tried"
    ]
    return {"found": found, "taken": taken, "outcomes": outcomes, "files": _files(file)}


def _files(file: Path) -> str:
    files = read_bundle(file)
    if files == in_bytes(FILES):
        return "old"
    return "new" if files == in_bytes(CHANGED) else f"mixed: {sorted(files)}"


def _in_a_child(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | None:
    """What it came to; None when it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(asyncio.run(work)).encode())
        os._exit(0)
    work.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    result: dict[str, Any] = json.loads(said)
    return result


def main(folder: Path, key: CommandKey, *, is_reached: bool, first: int, every: int) -> None:
    for fatal in range(first, 1000, every):
        at = folder / str(fatal)
        a_gateway_folder(at)
        was_killed = _in_a_child(_offer(at, key, is_reached=is_reached, fatal=fatal)) is None
        after = _in_a_child(_offer(at, key, is_reached=is_reached))
        say(json.dumps({"step": fatal, "was_killed": was_killed, "after": after}))
        shutil.rmtree(at)
        if not was_killed:
            return


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        CommandKey.from_bytes(base64.b64decode(sys.argv[2])),
        is_reached=sys.argv[3] == "reached",
        first=int(sys.argv[4]),
        every=int(sys.argv[5]),
    )
