"""The command as a technician types it: text, JSON and exit code of every answer."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.cli import app
from edge_agent.config import load_config
from models.reading import Reading
from simulators.ledger import produced
from simulators.scenario import load_scenario
from simulators.site import Site, running
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock, fast_clock
from tests.support.https import Collector, problem
from tests.support.items import readings

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "firmware_configs" / "gateway.yaml"
SCENARIO = """\
scenario: test
title: One meter
seed: 7
racks:
  - port: 0
    meters: [{id: meter-01, unit: 1, profile: eastron-sdm630}]
"""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "from edge_agent.cli import app; app()", *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


async def as_process(
    *words: object, stdin: str = "", folder: Path = ROOT, prefix: Sequence[str] = ()
) -> Said:
    done = await asyncio.to_thread(
        subprocess.run,
        [*prefix, *command(*words)],
        input=stdin,
        text=True,
        capture_output=True,
        cwd=folder,
        env=environment(),
    )
    return Said(done.returncode, done.stdout, done.stderr)


async def edge_agent(*words: object) -> Said:
    """The command inside this process, which saves it a second of imports."""
    done = await asyncio.to_thread(CliRunner().invoke, app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


# The rights of files count for root as for anybody else.
WITHOUT_PRIVILEGE: Final = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
)


def written(folder: Path, changes: Sequence[tuple[str, str]] = (("port: 9464", "port: 1"),)) -> Path:
    """The sample with changes; nothing answers on its health port."""
    text = SAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


@contextlib.asynccontextmanager
async def meter(ledger: Path | None = None) -> AsyncIterator[Site]:
    async with running(load_scenario(SCENARIO, "test.yaml"), clock=fast_clock(1), ledger=ledger) as site:
        yield site


def at_port(site: Site, *, period_s: int = 60) -> list[tuple[str, str]]:
    return [
        ("port: 5020", f"port: {site.ports[0]}"),
        ("port: 9464", "port: 0"),
        ("period_s: 60", f"period_s: {period_s}"),
        ("live_every_s: 10", "live_every_s: 1"),
    ]


async def test_help_names_every_command() -> None:
    said = await as_process("--help")
    assert said.code == 0
    for name in ("init", "check", "enroll", "run", "status", "read", "profiles"):
        assert f"  {name} " in said.out


async def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = ("httpx", "cryptography", "pydantic", "aiosqlite", "prometheus_client", "yaml", "rich.table")
    code = f"import edge_agent.cli, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "words", [["nonsense"], ["check", "--colour"], ["enroll"], ["enroll", "T", "--token-file", "f"], ["read"]]
)
async def test_a_wrong_command_line_is_exit_code_2(words: list[str]) -> None:
    assert (await edge_agent(*words)).code == 2


async def test_init_writes_the_sample_and_never_over_a_file(tmp_path: Path) -> None:
    said = await as_process("init", "new", folder=tmp_path)
    assert (said.code, (tmp_path / "new" / "gateway.yaml").read_text()) == (0, SAMPLE.read_text())
    (tmp_path / "new" / "gateway.yaml").write_text("mine")
    again = await edge_agent("init", tmp_path / "new", "--json")
    assert again.code == 1
    assert "left as it is" in again.json["error"]
    assert (tmp_path / "new" / "gateway.yaml").read_text() == "mine"


async def test_check_sums_up_what_is_right(tmp_path: Path) -> None:
    path = written(tmp_path)
    said = await edge_agent("check", "-c", path)
    assert (said.code, said.err) == (0, "")
    assert "no mistakes. Buses: 1, devices: 1, readings a minute:" in said.out
    assert (await edge_agent("check", "-c", path, "--json")).json["devices"] == 1


async def test_check_names_every_mistake_with_line_and_hint(tmp_path: Path) -> None:
    path = written(tmp_path, [("eastron-sdm630", "eastron-sdm63"), ("bus: rack", "bus: rock")])
    said = await edge_agent("check", "-c", path)
    assert (said.code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 2
    assert f"{path}:" in said.err
    assert "did you mean 'rack'?" in said.err
    problems = (await edge_agent("check", "-c", path, "--json")).json["problems"]
    lines = SAMPLE.read_text().splitlines()
    assert "bus: rack" in lines[problems[0]["line"] - 1]
    assert problems[1]["hint"] == "did you mean 'eastron-sdm630'?"


async def test_check_without_a_file_says_how_to_make_one(tmp_path: Path) -> None:
    said = await as_process("check", folder=tmp_path)
    assert said.code == 1
    assert "edge-agent init makes one" in said.err


@pytest.mark.parametrize("how", ["argument", "file", "stdin"])
async def test_enroll_takes_the_token_in_three_ways(tmp_path: Path, how: str) -> None:
    path = written(tmp_path)
    async with Collector().serve() as collector:
        token = collector.token.encode()
        (tmp_path / "token").write_text(f"{token[:30]}\n  {token[30:]}\n")  # as mail programs break lines
        ways: dict[str, list[object]] = {"argument": [token], "stdin": ["-"]}
        words = ways.get(how, ["--token-file", tmp_path / "token"])
        said = await as_process("enroll", *words, "-c", path, "--json", stdin=token)
    assert said.code == 0, said.err
    assert said.json["gateway_id"] == "gw-1"
    assert collector.secret not in said.out + said.err


async def test_enroll_replaces_an_identity_only_when_asked_to(tmp_path: Path) -> None:
    path = written(tmp_path)
    async with Collector().serve() as collector:
        token = collector.token.encode()
        await edge_agent("enroll", token, "-c", path)
        twice = await edge_agent("enroll", token, "-c", path)
        assert (twice.code, "--again" in twice.err) == (1, True)
        again = await edge_agent("enroll", token, "-c", path, "--again")
    assert (again.code, "Enrolled as gw-1, site a1" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status"], "only root and the user that the agent runs as"),
        (["enroll", Collector().token.encode()], "check the disk and the rights"),
    ],
)
async def test_a_state_folder_of_somebody_else_is_named(tmp_path: Path, words: list[str], told: str) -> None:
    path = written(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0)
    try:
        said = await as_process(*words, "-c", path, prefix=WITHOUT_PRIVILEGE)
    finally:
        state.chmod(0o700)
    assert (said.code, f"{state}/" in said.err, told in said.err) == (1, True, True), said.err
    assert "Traceback" not in said.err


async def test_enroll_explains_what_is_wrong_with_a_token(tmp_path: Path) -> None:
    path = written(tmp_path)
    async with Collector().serve() as collector:
        collector.script.append(problem(403, "token-expired"))
        said = await edge_agent("enroll", collector.token.encode(), "-c", path)
        assert (said.code, "ask for a new one" in said.err) == (1, True)
        assert "Traceback" not in said.err
    cut = await edge_agent("enroll", collector.token.encode()[:-9], "-c", path)
    assert (cut.code, "copy it whole" in cut.err) == (1, True)


async def test_read_shows_bytes_values_and_quality(tmp_path: Path) -> None:
    async with meter() as site:
        path = written(tmp_path, at_port(site))
        said = await edge_agent("read", "meter-01", "-c", path)
        answer = await edge_agent("read", "meter-01", "-c", path, "--json")
        unknown = await edge_agent("read", "meter-1", "-c", path)
    assert said.code == 0, said.err
    assert "> 00 01 00 00 00 06 01 04" in said.out
    assert "voltage_l1_v" in said.out
    voltage = answer.json["readings"][0]
    assert (voltage["point"], voltage["unit"], voltage["quality"]) == ("voltage_l1_v", "V", "good")
    assert 200 < voltage["value"] < 260
    assert answer.json["exchanges"][0]["problem"] == ""
    assert (unknown.code, "did you mean 'meter-01'?" in unknown.err) == (1, True)


async def test_read_of_a_silent_device_is_bad_news(tmp_path: Path) -> None:
    async with meter() as site:
        path = written(tmp_path, [*at_port(site), ("unit: 1 ", "unit: 9 ")])
    refused = await edge_agent("read", "meter-01", "-c", path)
    assert (refused.code, "check its power" in refused.err) == (1, True)


async def test_a_write_that_can_never_be_done_is_refused_also_while_the_device_is_away(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, [("port: 5020", "port: 1"), ("port: 9464", "port: 1")])
    said = await edge_agent("write", "meter-01", "nonsense", "5", "-c", path, "--json")
    assert (said.code, said.json["state"]) == (1, "refused")
    assert "no point 'nonsense'" in said.json["detail"]


async def test_status_of_a_gateway_that_does_not_run_comes_from_its_files(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = written(tmp_path)
    fresh = await edge_agent("status", "-c", path, "--json")
    assert (fresh.code, fresh.json["running"], fresh.json["buffer"]) == (1, False, None)
    file = tmp_path / "state" / "buffer.db"
    async with await open_buffer(file, clock.clock, window_s=0) as buffer:
        await buffer.outbox("main")
        await buffer.append(readings(42))
        busy = await edge_agent("status", "-c", path)
        assert (busy.code, "an agent runs with this configuration" in busy.err) == (1, True)
    before = file.read_bytes()
    said = await edge_agent("status", "-c", path, "--json")
    assert said.json["buffer"]["outboxes"]["main"]["pending"] == 42
    assert said.json["collectors"]["main"]["state"] == "not-enrolled"
    text = await edge_agent("status", "-c", path)
    assert "42 produced = 0 delivered + 42 pending" in text.out
    assert "1号楼总表" in text.out
    assert file.read_bytes() == before


async def test_run_refuses_a_configuration_with_mistakes(tmp_path: Path) -> None:
    said = await as_process("run", "-c", written(tmp_path, [("bus: rack", "bus: rock")]))
    assert (said.code, "did you mean 'rack'?" in said.err) == (1, True)


@contextlib.contextmanager
def agent(path: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A running agent that is asked to stop at the end."""
    with subprocess.Popen(
        command("run", "-c", path, *words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path.parent,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


async def status_port(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    while line := await asyncio.to_thread(process.stderr.readline):
        if "/status" in line:
            return int(line.rpartition("/status")[0].rpartition(":")[2])
    raise AssertionError("the agent ended")


async def test_status_of_a_running_gateway_comes_from_it(tmp_path: Path) -> None:
    async with meter() as site, Collector().serve() as collector:
        path = written(tmp_path, at_port(site))
        assert (await edge_agent("enroll", collector.token.encode(), "-c", path)).code == 0
        with agent(path) as process:
            port = await status_port(process)
            await collector.until(lambda collector: len(collector.values()) > 10)
            path.write_text(path.read_text().replace("port: 0", f"port: {port}"))
            said = await edge_agent("status", "-c", path)
            second = await as_process("run", "-c", path)
        assert process.returncode == 0
    assert said.code == 0, said.out
    assert "runs since" in said.out
    assert "as gw-1" in said.out
    assert "meter-01" in said.out
    assert (second.code, "another edge-agent is using it" in second.err) == (1, True)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_work_loses_nothing_and_exits_with_0(
    tmp_path: Path, kill: signal.Signals
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with meter(ledger) as site:
        path = written(tmp_path, at_port(site, period_s=1))
        with agent(path, "--json") as process:
            await status_port(process)
            while sum(1 for entry in produced(ledger) if entry.confirmed) < 100:
                assert site.ledger is not None
                site.ledger.flush()
                await asyncio.to_thread(process.poll)
            process.send_signal(kill)
            assert process.stderr is not None
            said = await asyncio.to_thread(process.stderr.read)
        assert process.returncode == 0
    log = [json.loads(line) for line in said.splitlines()]
    assert log[-1]["message"].startswith("stopped; ")
    expected = {(p.point, round(p.value, 6)) for p in produced(ledger) if p.confirmed}
    clock = VirtualClock()
    async with await SqliteBuffer.open(
        tmp_path / "state" / "buffer.db", clock=clock.clock, at_rest=at_rest_of(load_config(path))
    ) as buffer:
        cut = await (await buffer.outbox("main")).cut(10_000)
    assert cut is not None
    stored = {
        (item.point, round(item.value, 6))
        for item in cut.items
        if isinstance(item, Reading) and item.value is not None
    }
    assert expected
    assert expected <= stored


async def test_profiles_can_be_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = await edge_agent("profiles", "list", "--json")
    names = [profile["profile"] for profile in listed.json]
    assert "eastron-sdm630" in names
    shown = await edge_agent("profiles", "show", "eastron-sdm630")
    assert (shown.code, "input 0x0000" in shown.out) == (0, True)
    unknown = await edge_agent("profiles", "show", "eastron")
    assert (unknown.code, "eastron-sdm630" in unknown.err) == (1, True)
    own = tmp_path / "mine.yaml"
    source = ROOT / "firmware_configs" / "profiles" / "modbus" / "eastron-sdm630.yaml"
    own.write_text(source.read_text())
    renamed = await edge_agent("profiles", "check", own)
    assert (renamed.code, "call the file eastron-sdm630.yaml" in renamed.err) == (1, True)
    own.write_text(source.read_text().replace("profile: eastron-sdm630", "profile: mine"))
    assert (await edge_agent("profiles", "check", own)).code == 0
    assert "mine" in [
        p["profile"] for p in (await edge_agent("profiles", "list", "--own", tmp_path, "--json")).json
    ]
    own.write_text(own.read_text().replace("type: float32", "type: float33", 1))
    wrong = await edge_agent("profiles", "check", own, "--json")
    assert wrong.code == 1
    assert wrong.json["problems"][0]["hint"] == "did you mean 'float32'?"
    assert (await edge_agent("profiles", "schema")).json["title"] == "Profile"
