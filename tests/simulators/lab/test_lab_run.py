"""Unchanged programs on a failing disk and with a wrong clock, and `simulators faults` as people type it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from simulators.cli import app
from simulators.lab.clock import RIGHT, Wrong, set_wrong
from simulators.lab.disk import NO_TROUBLE, Trouble, set_trouble
from simulators.lab.plan import Fault
from simulators.lab.targets import ClockTarget, DiskTarget, ProcessTarget

ROOT = Path(__file__).parents[3]
RUN = [sys.executable, "-m", "simulators.lab.run"]


def test_an_unchanged_program_runs_on_it_and_its_trouble_comes_and_goes(tmp_path: Path) -> None:
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = WAL')\n"
        "connection.execute('CREATE TABLE note (text)')\n"
        "for line in sys.stdin:\n"
        "    try:\n"
        "        connection.execute('INSERT INTO note VALUES (1)')\n"
        "        print('ok', flush=True)\n"
        "    except sqlite3.OperationalError as err:\n"
        "        print(err, flush=True)\n"
    )
    (tmp_path / "program.py").write_text(program)
    control = tmp_path / "disk.json"
    arguments = ["--folder", tmp_path, "--disk", control, "--", "-m", "program", tmp_path / "a.db"]
    with subprocess.Popen(
        [*RUN, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def once() -> str:
            print(file=process.stdin, flush=True)
            return process.stdout.readline().strip()  # type: ignore[union-attr]

        assert once() == "ok"
        set_trouble(control, Trouble(full="everything"))
        assert once() == "database or disk is full"
        set_trouble(control, NO_TROUBLE)
        assert once() == "ok"
        process.stdin.close()


def test_an_unchanged_program_sees_a_wrong_clock_that_can_be_put_right(tmp_path: Path) -> None:
    program = "import sys, time\nfor line in sys.stdin:\n    print(time.time(), time.time_ns(), flush=True)\n"
    (tmp_path / "program.py").write_text(program)
    control = tmp_path / "clock.json"
    with subprocess.Popen(
        [*RUN, "--clock", control, "--", "-m", "program"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None

        def off_by_s() -> float:
            """To whole hours, for the machine may be busy."""
            before = time.time()
            print(file=process.stdin, flush=True)
            seconds, nanoseconds = process.stdout.readline().split()  # type: ignore[union-attr]
            assert float(seconds) == pytest.approx(int(nanoseconds) / 1e9, abs=60)
            return round((float(seconds) - before) / 3600) * 3600.0

        assert off_by_s() == 0
        set_wrong(control, Wrong(by_ms=-7_200_000))
        assert off_by_s() == -7200
        set_wrong(control, RIGHT)
        assert off_by_s() == 0
        process.stdin.close()


async def test_a_clock_steps_drifts_and_forgets_the_date() -> None:
    true_ms = 1_000_000_000.0
    told: list[Wrong] = []
    target = ClockTarget(told.append, lambda: true_ms)

    def shown_ms() -> float:
        return told[-1].shown_ms(true_ms)

    await target.begin(Fault(0, "clock.step", how={"by_s": 5}))
    assert shown_ms() == true_ms + 5000
    drift = Fault(0, "clock.drift", 1000, {"ppm": 100})
    await target.begin(drift)
    assert shown_ms() == true_ms + 5000
    true_ms += 10_000_000
    assert shown_ms() == pytest.approx(true_ms + 6000)
    await target.end(drift)
    true_ms += 10_000_000
    assert shown_ms() == pytest.approx(true_ms + 6000)
    reset = Fault(0, "clock.reset", 1000)
    await target.begin(reset)
    assert shown_ms() == pytest.approx(0)
    await target.end(reset)
    assert shown_ms() == pytest.approx(true_ms + 6000)


async def test_troubles_of_a_disk_add_up_and_end_one_by_one() -> None:
    told: list[Trouble] = []
    target = DiskTarget(told.append)
    slow, full = Fault(0, "disk.slow", 9, {"from_ms": 5, "to_ms": 20}), Fault(1, "disk.full", 3)
    for step in (target.begin(slow), target.begin(full), target.end(slow), target.end(full)):
        await step
    assert told == [
        Trouble(sync_ms=(5, 20)),
        Trouble(sync_ms=(5, 20), full="everything"),
        Trouble(full="everything"),
        NO_TROUBLE,
    ]


class Noted:
    """A process that is only written down."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def kill(self) -> None:
        self.done.append("kill")

    async def start(self) -> None:
        self.done.append("start")

    def hold(self) -> None:
        self.done.append("hold")

    def go_on(self) -> None:
        self.done.append("go on")


async def test_who_is_killed_is_neither_killed_again_nor_held_up_before_it_is_back() -> None:
    noted = Noted()
    returns: list[Coroutine[Any, Any, None]] = []

    async def away(seconds: float) -> None:
        noted.done.append(f"away {seconds:g}")

    target = ProcessTarget(noted, away, returns.append)
    kill, hang = Fault(0, "agent.kill", how={"away_s": 3}), Fault(0, "agent.hang", 5)
    await target.begin(kill)
    for again in (target.begin(kill), target.begin(hang), target.end(hang)):
        await again
    assert noted.done == ["kill"]
    await returns.pop()
    await target.begin(hang)
    await target.end(hang)
    assert noted.done == ["kill", "away 3", "start", "hold", "go on"]
    assert target.kills == 1


def test_a_seed_is_planned_kept_and_replayed(tmp_path: Path) -> None:
    planned = CliRunner().invoke(app, ["faults", "plan", "--seed", "7", "--duration", "5m", "--mix", "soak"])
    assert planned.exit_code == 0
    again = CliRunner().invoke(app, ["faults", "plan", "--seed", "7", "--duration", "5m", "--mix", "soak"])
    assert again.stdout == planned.stdout
    trace, control = tmp_path / "trace.jsonl", tmp_path / "disk.json"
    trace.write_text(planned.stdout)
    asked = ["faults", "replay", str(trace), "--disk", str(control), "--speed", "2000", "--json"]
    replayed = CliRunner().invoke(app, asked)
    assert replayed.exit_code == 0, replayed.stderr
    done = [json.loads(line) for line in replayed.stdout.splitlines()]
    wanted = [json.loads(line) for line in planned.stdout.splitlines()[1:]]
    begun = [moment["fault"] for moment in done if moment["what"] == "begin"]
    assert begun == [fault for fault in wanted if fault["kind"].startswith("disk.")] != []
    assert msgspec.json.decode(control.read_bytes(), type=Trouble) == NO_TROUBLE


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "--seed", "7", "--mix", "good"], "bad-week"),
        (["plan", "--seed", "7", "--only", "netwrk"], "network"),
        (["plan", "--seed", "7", "--duration", "7"], "9d6h"),
        (["replay", "/nowhere/trace.jsonl", "--disk", "x"], "/nowhere/trace.jsonl"),
    ],
)
def test_what_cannot_be_planned_or_played_is_told_with_exit_code_1(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["faults", *arguments])
    assert result.exit_code == 1
    assert told in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "--network", id="nobody"),
        pytest.param(["--network", "65536=127.0.0.1:1"], "PORT=HOST:PORT", id="no such port here"),
        pytest.param(["--network", "0=127.0.0.1:65536"], "PORT=HOST:PORT", id="no such port there"),
        pytest.param(["--agent", "edge-agent 'run"], "no closing quotation", id="half a command"),
    ],
)
def test_a_replay_to_nobody_who_can_be_is_a_mistake(tmp_path: Path, arguments: list[str], told: str) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"trace":1,"seed":1,"duration_ms":1,"mix":"soak"}')
    result = CliRunner().invoke(app, ["faults", "replay", str(trace), *arguments])
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_timetable_of_which_only_the_head_is_read_ends_without_a_word() -> None:
    command = [
        str(Path(sys.executable).parent / "simulators"),
        "faults",
        "plan",
        "--seed",
        "7",
        "--duration",
        "700d",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"trace":1')
        process.stdout.close()
        assert process.stderr.read() == b""


def test_every_kind_of_fault_is_listed_with_what_it_does() -> None:
    result = CliRunner().invoke(app, ["faults", "kinds", "--json"])
    listed = json.loads(result.stdout)
    assert {"network.cut", "collector.kill", "disk.full", "clock.reset"} <= {
        entry["kind"] for entry in listed
    }
    assert all(entry["what"] for entry in listed)
