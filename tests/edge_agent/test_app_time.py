"""Whatever the system clock shows, what arrives has the time at which the meter was asked."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.app import Machine, run_agent
from edge_agent.config import load_config
from edge_agent.identity.enroll import enroll
from models.reading import Quality, Reading, Reason
from models.times import Clock
from simulators.ledger import produced
from simulators.scenario import load_scenario
from simulators.site import Site, running
from tests.support.clocks import START_MS, fast_clock
from tests.support.https import Collector

SPEED = 8  # a hiccup of 100 ms of the test machine is then 0.8 s, which is still right
HOUR_MS = 3_600_000
SCENARIO = """\
scenario: test
seed: 7
racks: [{port: 0, meters: [{id: m-01, unit: 1, profile: chint-dtsu666}]}]
"""
CONFIG = """\
health: {{port: 0}}
uplink: {{live_every_s: 2}}
buses: [{{id: rack, modbus_tcp: {{host: 127.0.0.1, port: {port}}}}}]
devices: [{{id: m-01, bus: rack, unit: 1, profile: chint-dtsu666, period_s: 2}}]
"""


@dataclass
class Gateway:
    """A gateway whose system clock can be set to anything, between a meter and a collector."""

    folder: Path
    true: Clock
    site: Site
    collector: Collector
    wrong_by_ms: int = -START_MS  # it shows 1970
    synchronised: bool = False
    boot_id: str = "boot-a"
    up_since_s: float = 0.0
    before_boots: list[float] = field(default_factory=list)

    @property
    def system(self) -> Clock:
        return Clock(
            now_ms=lambda: self.true.now_ms() + self.wrong_by_ms,
            monotonic_s=lambda: 30.0 + self.true.monotonic_s() - self.up_since_s,
            sleep=self.true.sleep,
        )

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        machine = Machine(lambda: self.synchronised, self.boot_id)
        config = load_config(self.folder / "gateway.yaml")
        task = asyncio.create_task(run_agent(config, clock=self.system, stop=stop, machine=machine))
        try:
            yield
        finally:
            stop.set()
            await task

    def boots_again(self) -> None:
        self.boot_id, self.up_since_s = "boot-b", self.true.monotonic_s()

    async def polled(self, times: int) -> None:
        """Wait until the meter has been asked so many more times."""
        [endpoint] = self.site.endpoints
        wanted = endpoint.requests + 2 * times  # it takes two requests to read
        async with asyncio.timeout(30):
            while endpoint.requests < wanted:
                await self.true.sleep(0.5)

    def arrived(self) -> dict[str, list[Reading]]:
        found: dict[str, list[Reading]] = defaultdict(list)
        for item in self.collector.items.values():
            if isinstance(item, Reading) and item.value is not None:
                found[item.point].append(item)
        return found

    def wrong_by_s(self) -> float:
        """The most that any stored time differs from that at which the meter answered; all must be there."""
        assert self.site.ledger is not None
        self.site.ledger.flush()
        shown: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for entry in produced(self.folder / "meters.ledger"):
            shown[entry.point].append((round(entry.value, 6), entry.served_ms))
        worst = 0
        for point, readings in self.arrived().items():
            # A reply that was on its way at a stop may have shown more than was taken.
            pairs = list(zip(shown[point], readings, strict=False))
            assert [round(reading.value or 0, 6) for reading in readings] == [
                value for (value, _), _ in pairs
            ]
            assert len(shown[point]) - len(readings) <= 2
            worst = max(worst, *(abs(reading.measured_ms - at_ms) for (_, at_ms), reading in pairs))
        return worst / 1000


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    true = fast_clock(SPEED)
    ledger = tmp_path / "meters.ledger"
    collector = Collector(now_ms=true.now_ms)
    async with (
        running(load_scenario(SCENARIO, "test.yaml"), clock=true, ledger=ledger) as site,
        collector.serve(),
    ):
        (tmp_path / "gateway.yaml").write_text(CONFIG.format(port=site.ports[0]))
        await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path / "state")
        yield Gateway(tmp_path, true, site, collector)


async def test_a_clock_at_1970_that_jumps_leaves_no_trace_once_the_service_has_set_it(
    gateway: Gateway,
) -> None:
    gateway.collector.now_ms = lambda: 0  # knows the time no better
    async with gateway.agent():
        for step_ms in (0, HOUR_MS, -HOUR_MS, 300_000, -300_000):
            gateway.wrong_by_ms += step_ms
            await gateway.polled(3)
        assert gateway.collector.items == {}
        gateway.wrong_by_ms, gateway.synchronised = 0, True
        await gateway.polled(6)
        gateway.wrong_by_ms, gateway.synchronised = HOUR_MS, False  # somebody sets it by hand
        await gateway.polled(6)
    assert gateway.wrong_by_s() <= 1
    assert {reading.quality for of_point in gateway.arrived().values() for reading in of_point} == {
        Quality.GOOD
    }


async def test_the_collector_sets_the_time_where_nothing_else_does(gateway: Gateway) -> None:
    async with gateway.agent():
        await gateway.collector.until(lambda collector: len(collector.values()) > 200)
    assert gateway.wrong_by_s() <= 1
    assert "GET /gateway/v1/time" in gateway.collector.paths()
    assert [event.data["source"] for event in gateway.collector.events() if event.kind == "clock.set"] == [
        "collector"
    ]


async def test_a_restart_of_the_agent_keeps_what_it_read_before_it_knew_the_time(gateway: Gateway) -> None:
    gateway.collector.now_ms = lambda: 0
    async with gateway.agent():
        await gateway.polled(4)
    assert gateway.collector.items == {}
    gateway.collector.now_ms = gateway.true.now_ms
    async with gateway.agent():
        await gateway.collector.until(lambda collector: len(collector.values()) > 200)
    assert gateway.wrong_by_s() <= 1


async def test_readings_of_a_boot_that_never_knew_the_time_arrive_as_suspect(gateway: Gateway) -> None:
    gateway.collector.now_ms = lambda: 0
    async with gateway.agent():
        await gateway.polled(4)
    gateway.boots_again()
    gateway.collector.now_ms = gateway.true.now_ms
    async with gateway.agent():
        await gateway.collector.until(lambda collector: len(collector.values()) > 200)
    of_point = next(iter(gateway.arrived().values()))
    suspect = [reading for reading in of_point if reading.reason is Reason.CLOCK_UNSET]
    assert len(suspect) >= 3
    assert all(reading.quality is Quality.SUSPECT for reading in suspect)
    assert of_point[: len(suspect)] == suspect
    times = [reading.measured_ms for reading in of_point]
    assert times == sorted(set(times))
