"""Files, identity, buffer and buses of a gateway: each fault is found, and without it there is none."""

import asyncio
import contextlib
import os
import pty
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.commands.status import status as said_by_status
from edge_agent.doctor import buffer, buses, files, identity, machine, service
from edge_agent.doctor.finding import Finding
from edge_agent.doctor.scene import Host, Scene
from edge_agent.health import Page, serve_health
from edge_agent.status import BufferStatus, CollectorStatus, DeviceStatus, OutboxStatus, Status
from edge_agent.version import agent_version
from tests.support.buffers import open_buffer
from tests.support.certificates import DAY
from tests.support.clocks import VirtualClock, settle
from tests.support.gateways import NOW_MS, Machine, configured, enrolled, scene, states
from tests.support.https import Collector
from tests.support.items import readings
from tests.support.needs import needs_root

METER = {"id": "meter-01", "bus": "rack", "profile": "eastron-sdm630", "period_s": 60}
RACK = {"id": "rack", "modbus_tcp": {"host": "127.0.0.1", "port": 1}}


def test_a_configuration_without_mistakes_is_summed_up(tmp_path: Path) -> None:
    [finding] = files.configuration(scene(tmp_path, buses=[RACK], devices=[METER]))
    assert (finding.state, "1 buses, 1 devices" in finding.seen) == ("ok", True)


@pytest.mark.parametrize(
    ("sections", "state", "told"),
    [
        ({"buses": [RACK]}, "warning", "nothing is read"),
        ({"devices": [METER]}, "problem", "no bus 'rack'"),
        ({"nonsense": 1, "colour": 2}, "problem", "and 1 more mistakes"),
    ],
)
def test_mistakes_of_the_configuration_are_told(
    tmp_path: Path, sections: dict[str, Any], state: str, told: str
) -> None:
    [finding] = files.configuration(scene(tmp_path, **sections))
    assert (finding.state, told in finding.seen) == (state, True), finding


def test_without_a_configuration_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    nothing = Scene(tmp_path / "gateway.yaml", Machine(tmp_path).host())
    [finding] = files.configuration(nothing)
    assert (finding.state, "edge-agent init" in finding.seen) == ("problem", True)
    assert nothing.settings is None
    assert [finding.state for finding in machine.versions(nothing)] == ["ok"]


def secret_gateway(folder: Path) -> Scene:
    """With passwords, a PIN and a state folder, all as they should be."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    for path in (folder / "password", folder / "login", folder / "pin", state / "pseudonym.key"):
        path.write_text("secret")
        path.chmod(0o600)
    broker = {"id": "lora", "chirpstack": {"host": "127.0.0.1", "password_file": "password"}}
    uplink = {"proxy": "http://proxy.example:3128", "proxy_login_file": "login"}
    token = {"module": "token.so", "token": "gatehouse", "pin_file": "pin"}
    return scene(folder, buses=[broker], uplink=uplink, gateway={"key_token": token})


def test_files_with_the_right_rights_are_well(tmp_path: Path) -> None:
    [finding] = files.permissions(secret_gateway(tmp_path))
    assert finding.state == "ok", finding


@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        ("password", 0o640, "others than its owner may read it"),
        ("login", 0o604, "others than its owner may read it"),
        ("pin", 0o640, "others than its owner may read it"),
        ("state/pseudonym.key", 0o604, "others than its owner may read it"),
        ("gateway.yaml", 0o666, "can be changed by anybody"),
        ("password", None, "is not there"),
    ],
)
def test_rights_that_are_too_wide_are_seen(tmp_path: Path, name: str, mode: int | None, told: str) -> None:
    gateway = secret_gateway(tmp_path)
    if mode is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).chmod(mode)
    [finding] = files.permissions(gateway)
    assert (finding.state, told in finding.seen, name in finding.seen) == ("problem", True, True), finding


@needs_root
def test_files_that_root_left_in_the_state_folder_are_seen(tmp_path: Path) -> None:
    gateway = secret_gateway(tmp_path)
    os.chown(tmp_path / "state", 65_534, 65_534)
    found = list(files.permissions(gateway))
    assert any("are not nobody's" in finding.seen for finding in found), found
    assert any("is not nobody's, who must read it" in finding.seen for finding in found), found


async def test_an_identity_and_its_certificate_are_well_after_enrolment(tmp_path: Path) -> None:
    async with Collector().serve() as collector:
        await asyncio.to_thread(enrolled, tmp_path, collector)
    now = datetime.now(UTC)
    gateway = scene(tmp_path, Machine(tmp_path, now_ms=lambda: int(now.timestamp() * 1000)))
    assert states([*identity.identity(gateway), *identity.certificate(gateway)]) == {
        "identity.enrolled": "ok",
        "identity.certificate": "ok",
    }
    [known] = gateway.enrolled()
    for later, state in ((timedelta(hours=14), "warning"), (DAY, "problem"), (-3 * DAY, "problem")):
        assert identity.judged_certificate(known, now + later).state == state


def test_a_gateway_that_is_not_enrolled_is_told_how(tmp_path: Path) -> None:
    [finding] = identity.identity(scene(tmp_path))
    assert (finding.state, "edge-agent enroll TOKEN" in finding.next) == ("problem", True)


async def test_an_identity_with_another_key_is_seen(tmp_path: Path) -> None:
    async with Collector().serve() as collector:
        await asyncio.to_thread(enrolled, tmp_path, collector)
    gateway = scene(tmp_path)
    [known] = gateway.enrolled()
    assert known.identity is not None
    (known.identity.folder / "gateway.pem").write_bytes(b"nonsense")
    [finding] = identity.identity(scene(tmp_path))
    assert (finding.state, "do not fit together" in finding.seen) == ("problem", True)


def a_buffer(**changes: Any) -> BufferStatus:
    """With one collector."""
    facts = {
        "epoch": "00",
        "produced": 10,
        "delivered": 10,
        "pending": 0,
        "quarantined": 0,
        "dropped": 0,
        "conserved": True,
        "batches_pending": 0,
        "batches_kept": 1,
        "oldest_pending_ms": None,
    }
    whole = {"bytes_used": 1 << 20, "held_in_memory": 0, "lost_from_memory": 0}
    outbox = OutboxStatus(**{name: changes.get(name, fact) for name, fact in facts.items()})
    return BufferStatus(
        outboxes={"main": outbox}, **{name: changes.get(name, fact) for name, fact in whole.items()}
    )


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"conserved": False}, "problem"),
        ({"held_in_memory": 3}, "problem"),
        ({"dropped": 3}, "warning"),
        ({"lost_from_memory": 3}, "warning"),
        ({"quarantined": 3}, "warning"),
    ],
)
def test_a_buffer_that_does_not_add_up_is_seen(changes: dict[str, Any], state: str) -> None:
    assert buffer.judged_sound(a_buffer(**changes)).state == state


def test_a_buffer_that_fills_and_waits_is_seen() -> None:
    waiting = a_buffer(pending=5, delivered=5, oldest_pending_ms=NOW_MS - 3 * 3_600_000, bytes_used=15 << 20)
    assert buffer.judged_room(waiting, 16 << 20).state == "warning"
    assert buffer.judged_room(waiting, 100 << 20).state == "ok"
    assert (
        buffer.judged_room(a_buffer(bytes_used=15 << 20), 16 << 20).state == "ok"
    )  # what is kept goes first
    assert buffer.judged_pending(waiting, NOW_MS).state == "warning"
    assert buffer.judged_pending(waiting, NOW_MS - 3 * 3_600_000 + 60_000).state == "ok"
    assert buffer.judged_pending(a_buffer(), NOW_MS).state == "ok"


async def test_the_buffer_of_a_gateway_that_does_not_run_is_read_from_its_file(
    tmp_path: Path, clock: VirtualClock
) -> None:
    file = tmp_path / "state" / "buffer.db"
    async with await open_buffer(file, clock.clock, window_s=0) as opened:
        await opened.outbox("main")
        await opened.append(readings(42))
    (tmp_path / "state" / "buffer.db.damaged-20260101T000000").write_bytes(b"x" * 100)
    found = await asyncio.to_thread(lambda: list(buffer.buffer(scene(tmp_path))))
    facts = {finding.check: finding.facts for finding in found}
    assert facts["buffer.pending"]["main"]["pending"] == 42
    assert states(found)["buffer.aside"] == "warning"


@contextlib.contextmanager
def a_port() -> Iterator[str]:
    leader, follower = pty.openpty()
    try:
        yield os.ttyname(follower)
    finally:
        os.close(follower)
        os.close(leader)


def ports(gateway: Scene) -> list[Finding]:
    assert gateway.settings is not None
    return [found for section in gateway.settings.buses for found in buses.bus(gateway, section)]


def test_a_serial_port_that_is_there_is_well(tmp_path: Path) -> None:
    with a_port() as port:
        gateway = scene(tmp_path, buses=[{"id": "line", "serial": {"port": port}}])
        assert states(ports(gateway)) == {"bus.port": "ok", "bus.devices": "skipped"}


def test_a_serial_port_that_is_not_there_or_is_none_is_seen(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for port in ("/dev/ttyUSB77", str(tmp_path / "file")):
        gateway = scene(tmp_path, buses=[{"id": "line", "serial": {"port": port}}])
        assert states(ports(gateway))["bus.port"] == "problem"


def test_a_serial_port_that_another_program_uses_is_seen(tmp_path: Path) -> None:
    with a_port() as port:
        gateway = Scene(configured(tmp_path, buses=[{"id": "line", "serial": {"port": port}}]), Host())
        holding = f"import sys; f = open({port!r}); print(flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            found = ports(gateway)
            other.communicate(b"")
        assert found[0].state == "problem"
        assert f"(process {other.pid})" in found[0].seen
        assert ports(gateway)[0].state == "ok"


def test_a_serial_port_of_a_group_that_the_agent_is_not_in_is_seen(tmp_path: Path) -> None:
    with a_port() as port:
        found = Path(port).stat()
        theirs = os.stat_result((0o020660, *found[1:4], 12_345, 54_321, *found[6:]))
        ours = os.stat_result((0o020660, *found[1:4], 12_345, os.getgid(), *found[6:]))
    assert not buses.may_use(os.geteuid() or 65_534, theirs)
    assert buses.may_use(os.geteuid(), ours)


def test_a_port_with_a_name_that_changes_is_told_the_one_that_stays(tmp_path: Path) -> None:
    with a_port() as port:
        (tmp_path / "ttyUSB0").symlink_to(port)
        assert buses.lasting_name(tmp_path / "ttyUSB0") == ""
        (tmp_path / "serial" / "by-id").mkdir(parents=True)
        (tmp_path / "serial" / "by-id" / "usb-adapter").symlink_to(tmp_path / "ttyUSB0")
        gateway = scene(tmp_path, buses=[{"id": "line", "serial": {"port": str(tmp_path / "ttyUSB0")}}])
        finding = ports(gateway)[0]
    assert (finding.state, "usb-adapter" in finding.next) == ("warning", True), finding


RADIO = {"sys/class/bluetooth/hci0/rfkill2/soft": "0", "sys/class/bluetooth/hci0/rfkill2/hard": "0"}


@pytest.mark.parametrize(
    ("files", "state", "told"),
    [
        ({**RADIO, "proc/9/comm": "bluetoothd"}, "ok", "not blocked"),
        (RADIO, "problem", "bluetoothd does not run"),
        ({**RADIO, "sys/class/bluetooth/hci0/rfkill2/soft": "1"}, "problem", "blocked by software"),
        ({**RADIO, "sys/class/bluetooth/hci0/rfkill2/hard": "1"}, "problem", "by a switch"),
        ({"sys/class/bluetooth/hci1/address": "x"}, "problem", "no such adapter"),
    ],
)
def test_a_radio_that_cannot_hear_is_seen(
    tmp_path: Path, files: dict[str, str], state: str, told: str
) -> None:
    gateway = scene(tmp_path, Machine(tmp_path / "m").has(files), buses=[{"id": "air", "ble": {}}])
    finding = ports(gateway)[0]
    assert (finding.state, told in finding.seen) == (state, True), finding


def test_an_endpoint_is_reached_or_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        rack = {"id": "rack", "modbus_tcp": {"host": "127.0.0.1", "port": server.getsockname()[1]}}
        open_one = ports(scene(tmp_path, buses=[rack]))
    closed = ports(scene(tmp_path, buses=[rack]))
    assert (states(open_one)["bus.endpoint"], states(closed)["bus.endpoint"]) == ("ok", "problem")


def a_device(name: str, *, state: Any = "ok", missed: int = 0) -> DeviceStatus:
    return DeviceStatus(
        id=name,
        name="",
        bus="rack",
        profile="p",
        period_s=60,
        state=state,
        reason="no_reply" if state == "lost" else "",
        polls=100,
        missed_polls=missed,
    )


@contextlib.asynccontextmanager
async def an_agent(
    folder: Path, devices: list[DeviceStatus], *, version: str = agent_version(), **sections: Any
) -> AsyncIterator[Scene]:
    """The pages that an agent shows, from a gateway in this state."""
    status = Status(
        running=True,
        version=version,
        state_dir=str((folder / "state").resolve()),
        now_ms=NOW_MS,
        started_ms=NOW_MS - 60_000,
        time_from="collector",
        buffer=a_buffer(),
        collectors={"main": CollectorStatus(state="ok")},
        devices=devices,
    )

    async def page() -> Page:
        return Page(msgspec.json.encode(status))

    async def metrics() -> Page:
        return Page(b'gatehouse_bad_readings_total{bus="rack",reason="no_reply"} 7.0\n')

    async with serve_health("127.0.0.1", 0, {"/status": page, "/metrics": metrics}) as port:
        yield scene(folder, health={"port": port}, **sections)


@pytest.mark.parametrize(
    ("devices", "state", "told"),
    [
        ([a_device("a"), a_device("b")], "ok", "all 2 answer"),
        ([a_device("a"), a_device("b", state="lost")], "warning", "b (no reply)"),
        ([a_device("a", state="lost")], "problem", "none answers"),
        ([a_device("a", missed=20)], "warning", "20 of 120 polls"),
        ([a_device("a", state="new")], "ok", "1 of 1 not yet heard of"),
    ],
)
async def test_what_the_running_agent_has_seen_of_a_bus_is_told(
    tmp_path: Path, devices: list[DeviceStatus], state: str, told: str
) -> None:
    async with an_agent(tmp_path, devices, buses=[RACK]) as gateway:
        found = await asyncio.to_thread(ports, gateway)
    assert (found[1].state, told in found[1].seen) == (state, True), found
    assert found[1].facts["bad_readings"] == {"no_reply": 7}
    assert (found[0].state == "ok") is any(device.state == "ok" for device in devices)


async def test_an_agent_of_another_version_than_is_installed_is_seen(tmp_path: Path) -> None:
    async with an_agent(tmp_path, [], version="0.0.1") as gateway:
        [older] = await asyncio.to_thread(lambda: list(machine.versions(gateway)))
        [running] = await asyncio.to_thread(lambda: list(service.running(gateway)))
        [page] = await asyncio.to_thread(lambda: list(service.page(gateway)))
        kept = await asyncio.to_thread(lambda: list(buffer.buffer(gateway)))
    assert (older.state, running.state, page.state) == ("warning", "ok", "ok")
    assert states(kept)["buffer.sound"] == "ok"
    async with an_agent(tmp_path, []) as gateway:
        [same] = await asyncio.to_thread(lambda: list(machine.versions(gateway)))
    assert same.state == "ok"


async def test_the_agent_of_another_gateway_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    for name in ("other", "own"):
        (tmp_path / name).mkdir()
    async with an_agent(tmp_path / "other", []) as other:
        assert other.settings is not None
        gateway = scene(tmp_path / "own", health={"port": other.settings.health.port})
        [running] = await asyncio.to_thread(lambda: list(service.running(gateway)))
        [page] = await asyncio.to_thread(lambda: list(service.page(gateway)))
        said = await asyncio.to_thread(lambda: said_by_status(gateway.file))
    assert (running.state, page.state, "something else" in page.seen) == ("warning", "problem", True)
    assert (said.is_good, said.data["running"]) == (False, False)


async def test_somebody_else_at_the_port_of_the_pages_is_seen(tmp_path: Path) -> None:
    async with serve_health("127.0.0.1", 0, {}) as port:
        gateway = scene(tmp_path, health={"port": port})
        [finding] = await asyncio.to_thread(lambda: list(service.page(gateway)))
        await settle()  # the page's own end of it
    assert (finding.state, "something else" in finding.seen) == ("problem", True)


async def test_an_agent_that_has_ended_is_a_problem_and_one_that_never_ran_a_warning(
    tmp_path: Path, clock: VirtualClock
) -> None:
    gateway = scene(tmp_path)
    assert [finding.state for finding in service.running(gateway)] == ["warning"]
    async with await open_buffer(tmp_path / "state" / "buffer.db", clock.clock):
        assert [finding.state for finding in service.running(gateway)] == ["ok"]
        assert [finding.state for finding in service.page(gateway)] == ["problem"]
    assert [finding.state for finding in service.running(gateway)] == ["problem"]
