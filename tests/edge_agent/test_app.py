"""The whole agent between simulated meters and a collector: what the meters showed is what arrives."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.app import run_agent
from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.config import Config, load_config
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import EXPIRED
from models.inventory import DEVICE_DESCRIBED
from models.reading import GATEWAY, Quality, Reading
from models.times import Clock
from simulators.ledger import produced
from simulators.scenario import load_scenario
from simulators.site import Site, running
from tests.support.clocks import fast_clock
from tests.support.https import Collector, as_it_is, busy

SCENARIO = """\
scenario: test
title: Three meters behind one gateway
seed: 7
racks:
  - port: 0
    meters:
      - {id: m-01, unit: 1, profile: eastron-sdm630}
      - {id: m-02, unit: 2, profile: schneider-iem3000}
      - {id: m-03, unit: 3, profile: acrel-adl3000}
"""
CONFIG = """\
health: {{port: 0}}
uplink: {{live_every_s: 10, max_items: 2000}}
buses: [{{id: rack, modbus_tcp: {{host: 127.0.0.1, port: {port}}}}}]
devices:
  - {{id: m-01, bus: rack, unit: 1, profile: eastron-sdm630, period_s: 10}}
  - {{id: m-02, bus: rack, unit: 2, profile: schneider-iem3000, period_s: 10}}
  - {{id: m-03, bus: rack, unit: 3, profile: acrel-adl3000, period_s: 10}}
"""


@dataclass
class Town:
    """Meters, a configuration for them, and a collector."""

    folder: Path
    clock: Clock
    site: Site
    collector: Collector
    config: Config

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(run_agent(self.config, clock=self.clock, stop=stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def enrol(self) -> None:
        await asyncio.to_thread(enroll, self.collector.token, state_dir=self.config.state_dir, again=True)

    async def polled(self, times: int) -> None:
        """Wait until the meters have been asked so often."""
        async with asyncio.timeout(30):
            while self.site.endpoints[0].requests < times:
                await self.clock.sleep(1)

    async def pending(self) -> int:
        async with await SqliteBuffer.open(
            self.config.buffer_file, clock=self.clock, at_rest=at_rest_of(self.config)
        ) as buffer:
            counts = await (await buffer.outbox("main")).counts()
            assert counts.conserved
            assert counts.dropped == 0
            return counts.pending


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """At a speed of 60: the ten seconds between two polls take a sixth of a second."""
    clock = fast_clock(60)
    scenario = load_scenario(SCENARIO, "test.yaml")
    ledger = tmp_path / "ledger.jsonl"
    async with running(scenario, clock=clock, ledger=ledger) as site, Collector().serve() as collector:
        file = tmp_path / "gateway.yaml"
        file.write_text(CONFIG.format(port=site.ports[0]))
        yield Town(tmp_path, clock, site, collector, load_config(file))


def shown(ledger: Path, *, confirmed: bool) -> Counter[tuple[str, str, float]]:
    return Counter(
        (entry.meter_id, entry.point, round(entry.value, 6))
        for entry in produced(ledger)
        if entry.confirmed or not confirmed
    )


def arrived(collector: Collector) -> Counter[tuple[str, str, float]]:
    return Counter(
        (item.device_id, item.point, round(item.value, 6))
        for item in collector.items.values()
        if isinstance(item, Reading) and item.value is not None
    )


async def test_what_the_meters_showed_is_what_arrives(town: Town) -> None:
    await town.enrol()
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.items) > 600)
    assert await town.pending() == 0
    for endpoint in town.site.endpoints:
        assert endpoint.requests > 0
    assert town.site.ledger is not None
    town.site.ledger.flush()
    told, stored = shown(town.folder / "ledger.jsonl", confirmed=False), arrived(town.collector)
    assert not shown(town.folder / "ledger.jsonl", confirmed=True) - stored
    assert not stored - told


async def test_two_collectors_get_all_that_was_read_each_in_its_own_time(town: Town) -> None:
    town.config.file.write_text(
        CONFIG.format(port=town.site.ports[0]) + "collectors: {main: {}, area: {live_every_s: 20}}\n"
    )
    town.config = load_config(town.config.file)
    async with Collector().serve() as area:
        await town.enrol()
        async with town.agent():
            await town.collector.until(lambda collector: len(collector.items) > 300)
            await asyncio.to_thread(enroll, area.token, state_dir=town.config.state_dir, name="area")
            await area.until(lambda collector: len(collector.items) > 600)
        assert town.collector.gateway_id == area.gateway_id  # by chance the same: each has its own
        assert arrived(area) == arrived(town.collector)
        assert len(area.items) == len(town.collector.items)


async def test_the_collector_is_told_what_there_is_before_any_reading(town: Town) -> None:
    await town.enrol()
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.items) > 10)
    first = list(town.collector.events())[:4]
    assert [(event.device_id, event.kind) for event in first] == [
        (GATEWAY, "agent.started"),
        ("m-01", DEVICE_DESCRIBED),
        ("m-02", DEVICE_DESCRIBED),
        ("m-03", DEVICE_DESCRIBED),
    ]
    assert first[1].data["profile"] == "eastron-sdm630"
    assert first[1].data["points"][0]["unit"] == "V"


async def test_a_stop_finishes_polls_and_sends_what_is_left(town: Town) -> None:
    await town.enrol()
    town.collector.script.extend([as_it_is, busy(3600)])
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.requests) == 3)
        await town.polled(10)
        assert town.collector.paths()[1:] == ["PUT /gateway/v1/keys", "POST /gateway/v1/batches"]
        assert not town.collector.items
    assert town.collector.items
    assert await town.pending() == 0


async def test_what_could_not_be_sent_goes_out_after_the_next_start(town: Town) -> None:
    await town.enrol()
    town.collector.script.extend([busy(3600)] * 50)
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.requests) > 1)
    town.collector.script.clear()
    kept = await town.pending()
    assert kept > 3
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.items) >= kept)
    assert await town.pending() == 0
    assert [event.kind for event in town.collector.events()].count("agent.started") == 2


async def test_a_gateway_reads_before_it_is_enrolled_and_sends_as_soon_as_it_is(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.uplink.collector.LOOK_FOR_IDENTITY_S", 0.01)
    async with town.agent():
        await town.polled(10)
        await town.enrol()
        await town.collector.until(lambda collector: len(collector.values()) > 100)
        before = list(town.collector.items.values())
        town.collector.gateway_id = "gw-2"  # enrolled anew while it runs
        await town.enrol()
        await town.collector.until(lambda collector: len({epoch for epoch, _ in collector.items}) == 2)
    assert before
    assert await town.pending() == 0
    assert not shown(town.folder / "ledger.jsonl", confirmed=True) - arrived(town.collector)


async def get(port: int, path: str, *, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        answer = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def port_in(caplog: pytest.LogCaptureFixture) -> int:
    [line] = [r.getMessage() for r in caplog.records if "status on" in r.getMessage()]
    return int(line.rpartition("/status")[0].rpartition(":")[2])


async def test_the_pages_tell_how_it_is(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edge_agent")
    await town.enrol()
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.items) > 200)
        port = port_in(caplog)
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/readyz") == (200, "ready\n")
        assert (await get(port, "/metrics", method="POST"))[0] == 405
        assert (await get(port, "/nothing"))[0] == 404
        status: dict[str, Any] = json.loads((await get(port, "/status"))[1])
        metrics = (await get(port, "/metrics"))[1]
    assert status["running"]
    assert status["collectors"]["main"]["state"] == "ok"
    assert status["collectors"]["main"]["gateway_id"] == "gw-1"
    assert status["buffer"]["outboxes"]["main"]["conserved"]
    assert [device["state"] for device in status["devices"]] == ["ok"] * 3
    for line in (
        'gatehouse_devices{bus="rack",state="answering"} 3.0',
        'gatehouse_readings_total{quality="good"}',
        'gatehouse_buffer_conserved{collector="main"} 1.0',
        'gatehouse_bus_rtt_seconds_count{bus="rack"}',
        "gatehouse_upload_seconds_sum",
        "gatehouse_batches_delivered_total",
    ):
        assert line in metrics


async def test_a_port_that_is_taken_is_said_and_meters_are_read_all_the_same(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file = town.config.file
    file.write_text(file.read_text().replace("health: {port: 0}", f"health: {{port: {port}}}"))
    town.config = load_config(file)
    await town.enrol()
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.values()) > 10)
    server.close()
    await server.wait_closed()
    assert any("choose another health.port" in record.getMessage() for record in caplog.records)


async def test_a_certificate_that_has_ended_is_said_with_what_to_do(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edge_agent")
    town.collector.certificates_end = -timedelta(hours=1)
    await town.enrol()
    async with town.agent():
        await town.polled(1)
        status: dict[str, Any] = {"collectors": {"main": {"problem": ""}}}
        async with asyncio.timeout(30):
            while "waits for approval" not in status["collectors"]["main"]["problem"]:
                status = json.loads((await get(port_in(caplog), "/status"))[1])
    shown = status["collectors"]["main"]
    assert "waits for approval: collector gateways approve " + shown["return_code"] in shown["problem"]
    assert shown["needs_a_human"]
    assert any(record.getMessage() == EXPIRED for record in caplog.records)
    assert set(town.collector.paths()) == {"POST /gateway/v1/enroll", "POST /gateway/v1/return"}


async def test_silent_meters_are_bad_and_shown_as_lost(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edge_agent")
    await town.enrol()
    for endpoint in town.site.endpoints:
        await endpoint.close()
    async with town.agent():
        await town.collector.until(lambda collector: len(collector.values()) > 60)
        status: dict[str, Any] = json.loads((await get(port_in(caplog), "/status"))[1])
    assert {(d["state"], d["reason"]) for d in status["devices"]} == {("lost", "unreachable")}
    qualities = {item.quality for item in town.collector.items.values() if isinstance(item, Reading)}
    assert qualities == {Quality.BAD}
