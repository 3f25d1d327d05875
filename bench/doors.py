"""How long it takes from what happens at a door until it is on disk, by push and by stream.

Run as a module it is the process that listens, on the loop that the agent has, with the agent's buffer. The
controllers are another process of the same machine; the monotonic clock that both read is one.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

import uvloop
import yaml

from bench.entrance import EVENTS, EVERY_S, LAST, PUSHES, STREAMS, WARM_UP, pauses
from bench.polled import CLOCK
from demo.house import free_port
from demo.processes import Part, module
from drivers.contract import Sink
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.buses import Tools, make_buses
from edge_agent.config import Config, load_config
from edge_agent.reporting import ReportingSink
from edge_agent.sink import BufferSink
from models.at_rest import AtRest
from models.reading import Event, Item

ROUNDS: Final = 2
LOG_EVERY_S: Final = 10  # so that the logs too are read while events come, some times in each round
PATIENCE_S: Final = 60.0  # beyond the time that the events themselves take
ON_DISK: Final = "/var/tmp"  # noqa: S108  # unlike /tmp never in memory; the folder in it is ours alone
AT_REST: Final = AtRest(bytes(range(32)), purpose="buffer")
_PATH: Final = "doors-that-are-measured"


@dataclass(frozen=True, slots=True, order=True)
class Latency:
    """Milliseconds."""

    p99: float  # first, for the least counts
    p50: float
    worst: float


@dataclass(frozen=True, slots=True)
class Result:
    """From the event to the end of its commit, and what a commit alone takes."""

    pushed: Latency
    streamed: Latency
    alone: Latency

    @property
    def p99(self) -> float:
        """Of the slower way."""
        return max(self.pushed.p99, self.streamed.p99)


def latency_of(seconds: Sequence[float]) -> Latency:
    """The smallest that half, and 99 of 100, do not exceed, and the largest."""
    ordered = sorted(1000 * second for second in seconds)
    p50, p99 = (ordered[ceil(share * len(ordered) / 100) - 1] for share in (50, 99))
    return Latency(p99, p50, ordered[-1])


async def measure() -> Result:
    """Runs for a minute and a quarter."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir=ON_DISK) as name:
            listener = Part("listener", module("bench.doors", name), Path(name) / "listener.log")
            await listener.start()
            try:
                told = await listener.first_line()
            finally:
                await listener.stop()
        rounds.append({what: Latency(**latency) for what, latency in told.items()})
    return Result(**{what: min(one[what] for one in rounds) for what in ("pushed", "streamed", "alone")})


async def _measured(folder: Path) -> Result:
    port, told = free_port(), folder / "told.json"
    url = f"http://127.0.0.1:{port}/{_PATH}"
    entrance = Part("entrance", module("bench.entrance", url, str(told)), folder / "entrance.log")
    await entrance.start()
    try:
        config = _config(folder, port, await entrance.first_line())
        stored_s, alone_s = await asyncio.gather(_listened(config, entrance), _alone(folder / "alone.db"))
    finally:
        await entrance.stop()
    happened_s = json.loads(told.read_text())
    pushed, streamed = (
        [
            stored_s[device, serial] - happened_s[device][str(serial)]
            for serial in range(WARM_UP + 1, LAST + 1)
        ]
        for device in (PUSHES, STREAMS)
    )
    return Result(latency_of(pushed), latency_of(streamed), latency_of(alone_s))


def _config(folder: Path, port: int, facts: Mapping[str, Any]) -> Config:
    pushing = {"listen_host": "127.0.0.1", "listen_port": port, "listen_path_file": "path"}
    document = {
        "gateway": {"state_dir": "state"},
        "buses": [
            bus | {"door_controller": bus["door_controller"] | (pushing if bus["id"] == PUSHES else {})}
            for bus in facts["buses"]
        ],
        "devices": [device | {"period_s": LOG_EVERY_S} for device in facts["devices"]],
    }
    files = {**facts["files"], "path": _PATH, "gateway.yaml": yaml.safe_dump(document)}
    for name, text in files.items():
        (folder / name).write_text(text)
    config = load_config(folder / "gateway.yaml")
    config.state_dir.mkdir()
    return config


async def _listened(config: Config, entrance: Part) -> dict[tuple[str, int], float]:
    """When each event was on disk, by device and serial number."""
    async with await SqliteBuffer.open(config.buffer_file, clock=CLOCK, at_rest=AT_REST) as buffer:
        kept = BufferSink(buffer, CLOCK)
        sink = _Timed(ReportingSink(kept, config.report_rules))
        buses = make_buses(config, Tools(sink=sink, clock=CLOCK))
        listening = [asyncio.create_task(bus.run(), name=bus.bus) for bus in buses]
        try:
            async with asyncio.timeout(LAST * EVERY_S + PATIENCE_S):
                await sink.has_all.wait()
        except TimeoutError:
            entrance.check()
            raise RuntimeError(f"only {len(sink.stored_s)} of {2 * LAST} events have come") from None
        finally:
            for bus in buses:
                bus.stop()
            await asyncio.gather(*listening)
        if kept.held:
            raise RuntimeError("the disk has refused events; they were in memory alone")
    return sink.stored_s


async def _alone(file: Path) -> list[float]:
    """Seconds for one event after the other, as often as at each controller, in a buffer of their own."""
    data = {"serial": 1, "code": "5/1", "door": 1, "reader": 1, "credential": "card", "pseudonym": "0" * 32}
    took_s = []
    async with await SqliteBuffer.open(file, clock=CLOCK, at_rest=AT_REST) as buffer:
        for number, pause_s in enumerate(pauses(LAST, "alone")):
            await asyncio.sleep(pause_s)
            now_ms, began_s = CLOCK.now_ms(), time.monotonic()
            event = Event(
                device_id="doors", kind="door.granted", data=data, measured_ms=now_ms, received_ms=now_ms
            )
            await buffer.append([event])
            if number >= WARM_UP:
                took_s.append(time.monotonic() - began_s)
    assert len(took_s) == EVENTS
    return took_s


class _Timed:
    """A `Sink` that notes when `put` of another one has returned for each event, the first time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.stored_s: dict[tuple[str, int], float] = {}
        self.has_all = asyncio.Event()

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        await self._sink.put(items, marks)
        now_s = time.monotonic()
        for item in items:
            if isinstance(item, Event) and isinstance(serial := item.data.get("serial"), int):
                self.stored_s.setdefault((item.device_id, serial), now_s)
        if len(self.stored_s) == 2 * LAST:
            self.has_all.set()

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self._sink.marks(prefix)


async def _main(folder: Path) -> None:
    print(json.dumps(asdict(await _measured(folder))), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
