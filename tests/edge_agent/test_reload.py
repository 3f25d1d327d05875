"""A gateway that gets another configuration on site: by command or signal, back again, and with mistakes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.app import run_agent
from edge_agent.boots import BOOT_MS
from edge_agent.cli import app
from edge_agent.config import load_config
from edge_agent.config.versions import Version, Versions
from edge_agent.control.on_site import SOCKET
from edge_agent.identity.enroll import enroll
from models.configuration import digest_of, files_told
from models.inventory import DEVICE_DESCRIBED
from models.reading import Event, Reading
from models.times import Clock
from tests.support.clocks import VirtualClock, fast_clock
from tests.support.guarded import REAL
from tests.support.https import Collector
from tests.support.rack import Rack, rack_on_tcp

ROOT = Path(__file__).parents[2]
CONFIG = """\
health: {{port: 0}}
uplink: {{live_every_s: 1}}
buses: [{{id: rack, modbus_tcp: {{host: 127.0.0.1, port: {port}}}}}]
devices:
  - {{id: m-01, bus: rack, unit: 1, profile: eastron-sdm630, period_s: 1}}
  - {{id: m-02, bus: rack, unit: 2, profile: eastron-sdm630, period_s: 1}}
"""
NAMED = ("unit: 2, profile", "unit: 2, name: Lift, profile")


@dataclass
class Gateway:
    """A file, the meters that it names, a collector to tell, and the agent while it runs."""

    file: Path
    rack: Rack
    collector: Collector
    clock: Clock

    def write(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    async def typed(self, *words: str) -> tuple[int, Any]:
        line = [*words, "--json", "--config", str(self.file)]
        result = await asyncio.to_thread(CliRunner().invoke, app, line)
        return result.exit_code, json.loads(result.stdout)

    async def told(self, kind: str, count: int) -> list[Event]:
        def of_kind(collector: Collector) -> list[Event]:
            return [event for event in collector.events() if event.kind == kind]

        await self.collector.until(lambda collector: len(of_kind(collector)) >= count)
        return of_kind(self.collector)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with rack_on_tcp(VirtualClock()) as rack, Collector().serve() as collector:
        file = tmp_path / "gateway.yaml"
        file.write_text(CONFIG.format(port=rack.port))
        await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path / "state")
        yield Gateway(file, rack, collector, fast_clock(10))


@pytest.fixture
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    stop = asyncio.Event()
    config = load_config(gateway.file)
    task = asyncio.create_task(run_agent(config, clock=gateway.clock, stop=stop))
    try:
        while not (config.state_dir / SOCKET).exists():  # noqa: ASYNC110  # it rings no bell
            await asyncio.sleep(0.01)
        await gateway.rack.until(10)
        await gateway.collector.until(lambda collector: len(collector.items) > 50)
        yield gateway
    finally:
        stop.set()
        await task


async def test_a_reload_takes_over_what_changed_and_tells_everybody(running: Gateway) -> None:
    running.write(*NAMED)
    code, told = await running.typed("reload", "--why", "the lift has a name")
    assert (code, told["version"], told["changed"], told["added"]) == (0, 2, ["m-02"], [])
    [first, second] = await running.told("config.applied", 2)
    described = [event.data["name"] for event in await running.told(DEVICE_DESCRIBED, 3)]
    assert described == ["m-01", "m-02", "Lift"]
    assert first.data["by"] == "found at the start"
    assert second.data["by"].endswith(f"(uid {os.geteuid()})") or " as " in second.data["by"]
    assert second.data["why"] == "the lift has a name"
    assert second.data["digest"] == digest_of({"gateway.yaml": running.file.read_bytes()})
    assert files_told(second.data["content"]) == {"gateway.yaml": running.file.read_bytes()}
    assert running.rack.connections == 1


async def test_a_file_with_mistakes_changes_nothing_and_says_where_they_are(running: Gateway) -> None:
    good = running.file.read_text()
    running.write("profile: eastron-sdm630, period_s: 1}\n", "profile: eastron-sdm63, period_s: 1}\n")
    code, told = await running.typed("reload")
    assert code == 1
    assert [(each["line"], each["where"]) for each in told["problems"]] == [
        (5, "devices[m-01].profile"),
        (6, "devices[m-02].profile"),
    ]
    assert "eastron-sdm630" in told["problems"][0]["hint"]
    running.file.write_text(good)
    assert (await running.typed("reload"))[1]["version"] == 1
    assert len(Versions(running.file.parent / "state").all()) == 1


async def test_devices_come_and_go_and_nothing_that_was_stored_is_lost(running: Gateway) -> None:
    await running.collector.until(lambda collector: len(collector.values()) > 50)
    running.write("id: m-02, bus: rack, unit: 2", "id: m-03, bus: rack, unit: 3")
    code, told = await running.typed("reload")
    assert (code, told["added"], told["removed"]) == (0, ["m-03"], ["m-02"])
    await running.collector.until(
        lambda collector: any(i.device_id == "m-03" for i in collector.items.values())
    )
    items = running.collector.items
    assert sorted(seq for _, seq in items) == list(range(1, len(items) + 1))
    assert {i.device_id for i in items.values() if isinstance(i, Reading)} == {"m-01", "m-02", "m-03"}
    assert running.rack.connections == 1


async def test_a_state_folder_that_moves_is_refused(running: Gateway) -> None:
    running.write("health:", "gateway: {state_dir: elsewhere}\nhealth:")
    code, told = await running.typed("reload")
    assert code == 1
    assert "no agent runs here" in told["error"]
    assert len(Versions(running.file.parent / "state").all()) == 1


async def test_what_waits_for_the_next_start_is_said(running: Gateway) -> None:
    running.write("health:", "buffer: {max_mb: 64}\nhealth:")
    code, told = await running.typed("reload")
    assert (code, told["waits_for_a_start"], told["changed"]) == (0, ["buffer"], [])


async def test_the_way_to_the_collector_changes_without_a_loss(running: Gateway) -> None:
    running.write("live_every_s: 1", "live_every_s: 2")
    assert (await running.typed("reload"))[0] == 0
    before = len(running.collector.items)
    await running.collector.until(lambda collector: len(collector.items) > before + 500)
    items = running.collector.items
    assert sorted(seq for _, seq in items) == list(range(1, len(items) + 1))


async def test_history_diff_and_rollback(running: Gateway) -> None:
    first = running.file.read_text()
    running.write(*NAMED)
    code, told = await running.typed("config", "diff")
    assert (code, "name: Lift" in told["diff"], told["from"]) == (0, True, 1)
    code, told = await running.typed("config", "rollback")
    assert (code, "--discard" in told["error"]) == (1, True)
    await running.typed("reload", "--why", "a name")
    code, told = await running.typed("config", "diff", "1", "2")
    added = [line for line in told["diff"].splitlines() if line.startswith("+  ")]
    assert added == ["+  - {id: m-02, bus: rack, unit: 2, name: Lift, profile: eastron-sdm630, period_s: 1}"]
    code, told = await running.typed("config", "rollback")
    assert (code, told["version"], told["restored"], told["changed"]) == (0, 3, 1, ["m-02"])
    assert running.file.read_text() == first
    code, told = await running.typed("config", "history")
    assert [(each["version"], each["why"]) for each in told] == [
        (3, "rollback to version 1"),
        (2, "a name"),
        (1, ""),
    ]
    code, told = await running.typed("config", "show", "2")
    assert "name: Lift" in told["files"]["gateway.yaml"]
    assert (await running.typed("config", "show", "9"))[0] == 1
    await running.told("config.applied", 3)


async def test_a_file_is_checked_with_what_stands_beside_the_configuration(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "more.csv").write_text("id,bus,profile,period_s,unit\nm-03,rack,eastron-sdm630,10,3\n")
    (tmp_path / "inbox").mkdir()
    other = tmp_path / "inbox" / "new.yaml"
    other.write_text(gateway.file.read_text() + "devices_csv: more.csv\n")
    code, told = await gateway.typed("config", "check", str(other))
    assert (code, told["devices"], told["file"]) == (0, 3, str(other))
    other.write_text("devices_csv: none.csv\nbusses: []\n")
    code, told = await gateway.typed("config", "check", str(other))
    assert code == 1
    assert told["problems"][0]["file"] == str(other)


def keep(state: Path, files: dict[str, bytes]) -> None:
    Versions(state).keep(
        Version(digest=digest_of(files), at_ms=BOOT_MS, origin="on-site", by="li", files=files)
    )


async def test_a_rollback_without_an_agent_is_what_the_next_one_begins_with(gateway: Gateway) -> None:
    state = gateway.file.parent / "state"
    first = gateway.file.read_bytes()
    keep(state, {"gateway.yaml": first})
    gateway.write(*NAMED)
    keep(state, {"gateway.yaml": gateway.file.read_bytes()})
    code, told = await gateway.typed("config", "history")
    assert [each["at"] for each in told] == [None, None]  # the time was not known
    code, told = await gateway.typed("config", "rollback", "1")
    assert (code, told) == (0, {"restored": 1, "running": False})
    assert gateway.file.read_bytes() == first
    code, told = await gateway.typed("reload")
    assert (code, "no agent runs here" in told["error"]) == (1, True)


async def test_a_signal_reloads_a_real_agent(gateway: Gateway) -> None:
    """And what the agent says of it stands in its log."""
    gateway.clock = REAL
    line = "from edge_agent.cli import app; app()"
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", line, "run", "--config", gateway.file, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        await gateway.rack.until(2)
        await gateway.told("config.applied", 1)
        gateway.write(*NAMED)
        agent.send_signal(signal.SIGHUP)
        [_, second] = await gateway.told("config.applied", 2)
        assert (second.data["by"], second.data["changed"]) == ("a signal (SIGHUP)", 1)
        gateway.write("name: Lift", "nam: Lift")
        agent.send_signal(signal.SIGHUP)
        [refused] = await gateway.told("config.refused", 1)
        assert refused.data["problems"] == [
            f"{gateway.file}:6: devices[m-02].nam: unknown key 'nam' (did you mean 'name'?)"
        ]
        assert refused.data["digest"] == second.data["digest"]
    finally:
        agent.send_signal(signal.SIGTERM)
        _, log = await agent.communicate()
    assert agent.returncode == 0
    assert b"nothing was changed" in log
    assert gateway.rack.connections == 1
