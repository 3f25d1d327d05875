"""Finding what is on a line or in a network, as a technician types it, and reading registers in all ways."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.scan import Candidate, Found, Progress, scan_line
from edge_agent.catalogue import Catalogue
from edge_agent.cli import app
from edge_agent.commands import progress
from edge_agent.commands.proposing import bus_id, found_answer
from edge_agent.commands.scan import endpoint_of, network_of, stable_name, units_of
from edge_agent.commands.searching import Device, Searched
from edge_agent.config import BusSection
from edge_agent.control.on_site import SOCKET, Answer, Peer, Question, serve_on_site
from models.profile.modbus import ModbusProfile
from models.times import Clock
from simulators.dlt645.line import make_talker as dlt645
from simulators.dlt645.sections import Dlt645LineSection
from simulators.line.running import RunningLine, running_line
from simulators.line.sections import LineSection
from simulators.line.serial import Say
from simulators.modbus.line import make_talker as modbus
from simulators.modbus.sections import ModbusLineSection
from simulators.scenario import load_scenario
from simulators.site import Site, running
from tests.support.clocks import START_MS, fast_clock
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import in_virtual_time

UNITS = [(2, "chint-dtsu666"), (3, "eastron-sdm120"), (5, "xy-md02")]
"""One that its fingerprint tells, one of two that are alike, and one without a fingerprint."""


@dataclass(frozen=True)
class Typed:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def edge_agent(*words: object) -> Typed:
    done = await asyncio.to_thread(CliRunner().invoke, app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Typed(done.exit_code, done.stdout, done.stderr)


async def checked(tmp_path: Path, text: str) -> Any:
    """What `edge-agent check` says of a file that is just this."""
    path = tmp_path / "proposed.yaml"
    path.write_text(text)
    said = await edge_agent("check", "--config", path, "--json")
    assert said.code == 0, said.out
    return said.json


@contextlib.asynccontextmanager
async def line(
    *, units: Sequence[tuple[int, str]] = UNITS, address: str = "", profile: str = "", port: int | None = None
) -> AsyncIterator[RunningLine]:
    """A line on which bytes take no time."""
    clock = fast_clock(1)
    given: dict[str, Any] = {"clock": clock, "seed": 5, "origin_ms": START_MS - 3_600_000}
    meters = [{"id": f"m{unit}", "unit": unit, "profile": name} for unit, name in units]
    talkers: list[Any] = [modbus(ModbusLineSection.model_validate({"meters": meters}), **given)]
    if address:
        lone = {"id": "lone", "address": address, "profile": profile}
        talkers.append(dlt645(Dlt645LineSection.model_validate({"meters": [lone]}), **given))
    section = LineSection.model_validate({"baud": None, "port": port})
    async with running_line(section, talkers, clock=clock) as opened:
        yield opened


@contextlib.asynccontextmanager
async def rack(*units: tuple[int, str]) -> AsyncIterator[Site]:
    meters = ", ".join(f"{{id: m-{unit}, unit: {unit}, profile: {name}}}" for unit, name in units)
    text = f"scenario: t\ntitle: t\nseed: 7\nracks:\n  - port: 0\n    meters: [{meters}]\n"
    async with running(load_scenario(text, "test.yaml"), clock=fast_clock(1)) as site:
        yield site


@pytest.mark.parametrize("profile", ["dlt645-single-phase", "dlt645-three-phase"])
async def test_what_is_on_a_serial_line_is_proposed_as_configuration_that_loads(
    tmp_path: Path, profile: str
) -> None:
    async with line(address="201900012345", profile=profile) as opened:
        words = ("scan", "serial", opened.path, "--units", "1-5")
        said = await edge_agent(*words, "--yaml")
        told = await edge_agent(*words)
    assert (said.code, said.err) == (0, ""), said.err
    facts = await checked(tmp_path, said.out)
    assert (facts["buses"], facts["devices"]) == (1, 2)
    proposed = yaml.safe_load(said.out)
    assert proposed["buses"][0]["serial"]["port"] == opened.path
    assert [(one.get("unit"), one.get("address"), one["profile"]) for one in proposed["devices"]] == [
        (2, None, "chint-dtsu666"),
        (None, "201900012345", profile),
    ]
    assert "eastron-sdm120 (" in said.out
    assert "eastron-sdm230 (" in said.out
    assert "unit 5: no profile fits" in said.out
    assert told.code == 0
    assert f"{opened.path}: 4 found; 5 units were asked" in told.out
    assert said.out.strip() in told.out


async def test_what_a_person_chooses_in_the_proposal_loads_and_reads(tmp_path: Path) -> None:
    async with line(address="201900012345", profile="dlt645-single-phase", port=0) as opened:
        said = await edge_agent("scan", "server", f"127.0.0.1:{opened.port}", "--units", "3,5", "--yaml")
        assert said.code == 0, said.out
        lines = said.out.splitlines()
        entries = [line.replace("  # ", "  ") if line[:6] in ("  # - ", "  #   ") else line for line in lines]
        kept = [line for line in entries if "Eastron" not in line]
        text = "\n".join(kept).replace("'?'", "eastron-sdm120", 1).replace("'?'", "xy-md02", 1)
        assert (await checked(tmp_path, text))["devices"] == 3
        for device in yaml.safe_load(text)["devices"]:
            read = await edge_agent("read", device["id"], "--config", tmp_path / "proposed.yaml")
            assert read.code == 0, read.out + read.err
            place = f"unit {device['unit']}" if "unit" in device else f"address {device['address']}"
            assert f"{place} on bus 127.0.0.1-{opened.port}" in read.out


async def test_two_meters_that_tell_their_addresses_at_once_are_a_remark() -> None:
    clock = fast_clock(1)
    meters = [{"id": f"m{n}", "address": f"20190001234{n}"} for n in (5, 6)]
    section = Dlt645LineSection.model_validate({"baud": None, "meters": meters})
    talker = dlt645(section, clock=clock, seed=5, origin_ms=START_MS)

    class Heard:
        """Keeps what each would have said."""

        def __init__(self) -> None:
            self.frames: list[bytes] = []

        def __call__(self, data: bytes, *, after_s: float = 0.0, who: str = "") -> None:
            self.frames.append(data)

        def is_speaking(self, who: str) -> bool:
            return False

    class Jam:
        """Both at once: what a wire has that two drive."""

        def hear(self, data: bytes, connection: int, say: Say) -> None:
            heard = Heard()
            talker.hear(data, connection, heard)
            if heard.frames:
                say(bytes(one & other for one, other in zip(*heard.frames, strict=True)))

    async with running_line(section, [Jam()], clock=clock) as opened:
        said = await edge_agent("scan", "serial", opened.path, "--units", "1", "--yaml")
    assert said.code == 1
    assert "connect one meter at a time" in said.out
    assert yaml.safe_load(said.out) is None


async def test_nothing_found_is_bad_news() -> None:
    async with rack((1, "eastron-sdm630")) as site:
        said = await edge_agent("scan", "tcp", f"127.0.0.1:{site.ports[0]}", "--units", "8-9", "--json")
    assert (said.code, said.json["proposed"], said.json["buses"][0]["asked"]) == (
        1,
        {"buses": [], "devices": []},
        2,
    )
    refused = await edge_agent("scan", "tcp", f"127.0.0.1:{site.ports[0]}", "--json")
    assert (refused.code, "Connection refused" in refused.json["error"]) == (1, True)


async def test_a_modbus_tcp_device_is_found_with_why_it_is_what_it_is() -> None:
    async with rack((7, "schneider-pm5000")) as site:
        said = await edge_agent("scan", "tcp", f"127.0.0.1:{site.ports[0]}", "--units", "6-8", "--json")
    assert said.code == 0
    [found] = said.json["buses"][0]["found"]
    assert (found["unit"], found["proposed"]["profile"]) == (7, "schneider-pm5000")
    assert "frequency_hz at holding 0x0c25 is" in found["candidates"][0]["reasons"][0]


async def test_all_hosts_of_a_network_are_searched_and_what_is_found_loads(tmp_path: Path) -> None:
    async with rack((1, "chint-dtsu666"), (9, "schneider-pm5000")) as site:
        port = site.ports[0]
        said = await edge_agent("scan", "net", "127.0.0.0/29", "--port", port, "--units", "1,9", "--yaml")
    assert said.code == 0, said.out
    proposed = yaml.safe_load(said.out)
    assert proposed["buses"] == [
        {"id": f"127.0.0.1-{port}", "modbus_tcp": {"host": "127.0.0.1", "port": port}}
    ]
    assert [one["unit"] for one in proposed["devices"]] == [1, 9]
    assert (await checked(tmp_path, said.out))["devices"] == 2


async def test_a_host_that_is_no_modbus_device_does_not_end_the_search(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        said = await edge_agent("scan", "net", "127.0.0.0/30", "--port", port, "--units", "1-2", "--yaml")
    assert (said.code, f"127.0.0.2:{port}: none of 2 units answers" in said.out) == (1, True), said.out


def configuration(folder: Path, opened: RunningLine) -> Path:
    path = folder / "gateway.yaml"
    known = {"id": "lobby", "bus": "line", "unit": 3, "profile": "eastron-sdm120", "period_s": 60}
    path.write_text(json.dumps({"buses": [opened.bus("line")], "devices": [known]}))
    return path


async def test_only_what_the_configuration_has_not_is_proposed_for_its_bus(tmp_path: Path) -> None:
    async with line(port=0) as opened:
        path = configuration(tmp_path, opened)
        said = await edge_agent("scan", "bus", "line", "--units", "2-3", "--config", path, "--yaml")
        wrong = await edge_agent("scan", "bus", "lime", "--config", path)
    assert said.code == 0
    proposed = yaml.safe_load(said.out)
    assert proposed["buses"] == [opened.bus("line")]
    assert [(one["id"], one["unit"]) for one in proposed["devices"]] == [("line-2", 2)]
    assert "unit 3 is lobby already" in said.out
    assert (wrong.code, "did you mean 'line'?" in wrong.err) == (1, True)


async def test_a_line_that_the_running_agent_uses_is_not_searched(tmp_path: Path) -> None:
    async def answer(question: Question, peer: Peer) -> Answer:
        return Answer(error="no such device", code="no-such-device", buses=["line"])

    async with line() as opened:
        path = configuration(tmp_path, opened)
        (tmp_path / "state").mkdir()
        async with serve_on_site(tmp_path / "state" / SOCKET, answer):
            said = await edge_agent("scan", "bus", "line", "--units", "3", "--config", path)
        assert (said.code, "stop it for the search" in said.err) == (1, True)
        assert (await edge_agent("scan", "bus", "line", "--units", "3", "--config", path)).code == 0


async def test_a_port_that_another_program_has_open_is_told() -> None:
    async with line() as opened:
        master = await asyncio.to_thread(_lock, opened.path)
        said = await edge_agent("scan", "serial", opened.path, "--units", "3")
        os.close(master)
    assert (said.code, "another program, or another bus, has it open" in said.err) == (1, True)


def _lock(path: str) -> int:
    import fcntl

    opened = os.open(path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    return opened


@pytest.mark.parametrize(
    "words",
    [
        ["serial"],
        ["serial", ""],
        ["serial", "/dev/ttyUSB0", "--units", "0"],
        ["serial", "/dev/ttyUSB0", "--units", "250"],
        ["serial", "/dev/ttyUSB0", "--units", "1-"],
        ["serial", "/dev/ttyUSB0", "--parity", "mark"],
        ["server", "10.0.0.7"],
        ["tcp", "10.0.0.7:99999"],
        ["net", "nonsense"],
        ["net", "8.8.8.0/24"],
        ["net", "0.0.0.0/0"],
        ["tcp", "10.0.0.7", "--json", "--yaml"],
        ["bus"],
    ],
)
async def test_a_wrong_command_line_is_exit_code_2_and_nothing_is_asked(words: list[str]) -> None:
    assert (await edge_agent("scan", *words)).code == 2


async def test_a_network_that_is_too_large_is_refused() -> None:
    said = await edge_agent("scan", "net", "10.0.0.0/8")
    assert (said.code, "name a part of it" in said.err) == (1, True)


def test_only_networks_within_private_ones_are_private() -> None:
    for text in ("192.168.1.0/24", "10.0.0.0/16", "127.0.0.1", "fe80::/120", "172.31.0.0/16"):
        assert network_of(text, any_network=False) == ip_network(text)
    for text in ("0.0.0.0/0", "192.0.0.0/8", "172.32.0.0/16", "10.0.0.0/7", "2001:db8::/120"):
        with pytest.raises(ValueError, match="--any"):
            network_of(text, any_network=False)
        assert network_of(text, any_network=True) == ip_network(text)


def test_units_and_endpoints_are_read_as_people_write_them() -> None:
    assert units_of("7, 1-3,2,255") == [7, 1, 2, 3, 255]
    assert units_of("1-247") == list(range(1, 248))
    assert endpoint_of("10.0.0.7", 502) == ("10.0.0.7", 502)
    assert endpoint_of("10.0.0.7:5020", 502) == ("10.0.0.7", 5020)
    assert endpoint_of("[fe80::1]:5020", None) == ("fe80::1", 5020)
    assert endpoint_of("[fe80::1]", 502) == endpoint_of("fe80::1", 502) == ("fe80::1", 502)


def test_a_port_is_called_by_the_name_that_stays(tmp_path: Path) -> None:
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    port, other = tmp_path / "ttyUSB0", tmp_path / "ttyUSB1"
    for file in (port, other):
        file.touch()
    (by_id / "usb-FTDI_A10K-if00-port0").symlink_to("../ttyUSB0")
    assert stable_name(str(port), by_id) == str(by_id / "usb-FTDI_A10K-if00-port0")
    assert stable_name(str(other), by_id) == str(other)
    mine = tmp_path / "meters"
    mine.symlink_to(port)
    assert stable_name(str(mine), by_id) == str(mine)


async def test_whatever_a_device_calls_itself_cannot_write_configuration(tmp_path: Path) -> None:
    said = "x\ndevices: []\u2028\u0085#\x1b[2J - id: a"
    device = Device(unit=1, identification={"vendor": said}, candidates=(Candidate("xy-md02", 1, (said,)),))
    bus = BusSection.model_validate({"id": bus_id("a b", 5), "modbus_tcp": {"host": "h: {", "port": 5}})
    profiles = {"xy-md02": Catalogue().load("xy-md02")}
    searched = Searched(bus=bus, endpoint="h", asked=1, devices=(device,), remarks=(said,))
    text = found_answer([searched], profiles, as_yaml=True).text
    assert (await checked(tmp_path, text))["devices"] == 1
    proposed = yaml.safe_load(text)
    assert [one["id"] for one in proposed["devices"]] == ["a-b-5-1"]
    assert proposed["buses"][0]["modbus_tcp"]["host"] == "h: {"
    assert "\x1b" not in found_answer([searched], profiles).text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_is_shown_how_far_the_search_is_and_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    near, far = os.openpty() if is_terminal else os.pipe()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with open(far, "w") as stderr:  # noqa: PTH123  # it is open already
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress.shown() as begin:
            begin("line 7")(Progress(3, 10, 1))
    seen = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while piece := os.read(near, 65_536):
            seen += piece
    os.close(near)
    assert [word in seen for word in (b"line 7", b"3/10", b"1 found")] == [is_terminal] * 3
    assert is_terminal or not seen


def refusing(request: bytes) -> list[Said]:
    """A unit that is there and knows no register that it is asked for."""
    return [Said(sealed(bytes((request[0], request[1] | 0x80, 2))))]


@pytest.mark.parametrize(
    ("there", "turnaround_s"),
    [([], 0.0), ([1, 100, 247], 0.005), ([1, 100, 247], 0.1), (list(range(8, 248, 12)), 0.02)],
    ids=["none", "quick", "slow", "twenty"],
)
def test_all_units_of_a_line_at_9600_bit_s_are_searched_within_a_minute(
    there: list[int], turnaround_s: float
) -> None:
    catalogue = Catalogue()
    profiles = [p for p in map(catalogue.load, catalogue.names()) if isinstance(p, ModbusProfile)]
    steps: list[Progress] = []

    async def main(clock: Clock) -> tuple[list[Found], float]:
        bus = RtuBus(dict.fromkeys(there, refusing), baud=9600, turnaround_s=turnaround_s)
        link = RtuLink(MemoryLine(bus, clock=clock))
        found = await scan_line(link, range(1, 248), profiles, on_progress=steps.append)
        return found, clock.monotonic_s()

    found, took_s = in_virtual_time(main)
    assert [one.unit for one in found] == there
    assert took_s < 60
    assert (steps[-1].done, steps[-1].found) == (steps[-1].of, len(there))


@pytest.mark.parametrize("late_s", [0.16, 0.25, 0.4, 0.7])
def test_units_that_answer_too_late_are_found_all_the_same(late_s: float) -> None:
    there = [1, 2, 50, 51, 246, 247]

    async def main(clock: Clock) -> list[Found]:
        bus = RtuBus(dict.fromkeys(there, refusing), baud=9600, turnaround_s=late_s)
        return await scan_line(RtuLink(MemoryLine(bus, clock=clock)), range(1, 248), [])

    assert [one.unit for one in in_virtual_time(main)] == there


def test_a_unit_whose_answer_is_spoiled_once_is_found_all_the_same() -> None:
    async def main(clock: Clock) -> list[Found]:
        spoiled: list[bytes] = []

        def noisy(request: bytes) -> list[Said]:
            [said] = refusing(request)
            if spoiled:
                return [said]
            spoiled.append(said.data)
            return [Said(said.data[:-1] + bytes((said.data[-1] ^ 1,)))]

        bus = RtuBus({9: noisy}, baud=9600)
        return await scan_line(RtuLink(MemoryLine(bus, clock=clock)), range(1, 20), [])

    assert [one.unit for one in in_virtual_time(main)] == [9]


async def test_all_that_registers_may_mean_is_shown_and_what_fits_is_marked(tmp_path: Path) -> None:
    async with line(units=[(3, "eastron-sdm120")], port=0) as opened:
        path = configuration(tmp_path, opened)
        said = await edge_agent("read", "lobby", "--decodings", "--config", path, "--json")
        told = await edge_agent("read", "lobby", "--decodings", "--config", path)
        plain = await edge_agent("read", "lobby", "--config", path, "--json")
    assert (said.code, "decodings" in plain.json) == (0, False)
    voltage = said.json["readings"][0]["value"]
    [place] = [
        one
        for one in said.json["decodings"]
        if (one["table"], one["address"], len(one["words"])) == ("input", 0, 9)
    ]
    assert place["point"] == "voltage_v"
    first = next(one for one in place["decodings"] if one["type"] == "float32" and one["fits"])
    assert (first["word_order"], first["byte_order"]) == ("high_first", "big")
    assert first["value"] == pytest.approx(voltage, abs=0.05)
    whole = next(one for one in place["decodings"] if one["type"] == "uint32")
    assert (whole["raw"], whole["fits"]) == (int(place["words"].replace(" ", ""), 16), False)
    assert any(len(one["words"]) == 4 for one in said.json["decodings"])
    assert "low word first" in told.out


async def test_registers_over_modbus_tcp_have_their_meanings_as_well(tmp_path: Path) -> None:
    async with rack((1, "chint-dtsu666")) as site:
        path = tmp_path / "gateway.yaml"
        path.write_text(
            (files("firmware_configs") / "gateway.yaml")
            .read_text()
            .replace("port: 5020", f"port: {site.ports[0]}")
            .replace("eastron-sdm630", "chint-dtsu666")
        )
        said = await edge_agent("read", "meter-01", "--decodings", "--config", path, "--json")
    assert said.code == 0
    scaled = [
        one
        for place in said.json["decodings"]
        for one in place["decodings"]
        if place["point"] == "voltage_l1_v" and one["type"] == "float32" and one["fits"]
    ]
    assert scaled[0]["raw"] == pytest.approx(10 * scaled[0]["value"])  # the profile scales by 0.1
    assert 200 < scaled[0]["value"] < 260


async def test_devices_without_registers_have_no_other_meanings(tmp_path: Path) -> None:
    async with line(address="201900012345", profile="dlt645-single-phase", port=0) as opened:
        path = tmp_path / "gateway.yaml"
        device = {"id": "mains", "bus": "line", "address": "201900012345",
                  "profile": "dlt645-single-phase", "period_s": 60}  # fmt: skip
        path.write_text(json.dumps({"buses": [opened.bus("line")], "devices": [device]}))
        said = await edge_agent("read", "mains", "--decodings", "--config", path)
        assert (said.code, "no registers" in said.err) == (1, True)
        plain = await edge_agent("read", "mains", "--config", path)
    assert "address 201900012345 on bus line" in plain.out
    assert "None" not in plain.out
