"""The command as a whole: everything at once, in time, in words and in JSON."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.commands.doctor import doctor, report
from edge_agent.doctor.checks import checks_of
from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.run import Check, examine
from edge_agent.doctor.scene import Scene
from models.errors import NeedsAHuman
from tests.support.gateways import Machine, configured, scene


def test_it_looks_at_more_than_fifteen_things_without_an_agent_or_a_network(tmp_path: Path) -> None:
    gateway = scene(tmp_path)
    found = examine(gateway, checks_of(gateway))
    assert len({finding.check for finding in found}) >= 24
    assert all(finding.next for finding in found if finding.state in ("warning", "problem"))
    assert not [finding for finding in found if "could not be checked" in finding.seen]


def test_a_check_that_hangs_is_said_and_holds_nothing_up(tmp_path: Path) -> None:
    release = threading.Event()

    def hangs(_: Scene) -> Iterator[Finding]:
        yield ok("a.first", "seen before it hung")
        release.wait()
        yield ok("a.second", "too late")

    def works(_: Scene) -> Iterator[Finding]:
        yield ok("b", "well")

    checks = [Check(("a.first", "a.second"), hangs, "x"), Check(("b",), works)]
    found = examine(scene(tmp_path), checks, deadline_s=0.2)
    release.set()
    assert [(finding.check, finding.state) for finding in found] == [
        ("a.first", "ok"),
        ("a.second", "problem"),
        ("b", "ok"),
    ]
    assert found[1].seen == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (PermissionError(13, "Permission denied", "/x"), "skipped"),
        (NeedsAHuman("turn it on"), "problem"),
        (ZeroDivisionError("oh"), "problem"),
    ],
)
def test_a_check_that_fails_does_not_hide_the_others(tmp_path: Path, raised: Exception, state: str) -> None:
    def fails(_: Scene) -> Iterator[Finding]:
        if raised:
            raise raised
        yield ok("a", "")

    found = examine(scene(tmp_path), [Check(("a",), fails), Check(("b",), lambda _: iter([ok("b", "")]))])
    assert [(finding.check, finding.state) for finding in found] == [("a", state), ("b", "ok")]


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("a", ""), skipped("b", "")], 0),
        ([ok("a", ""), warning("b", "", "do")], 1),
        ([warning("a", "", "do"), problem("b", "", "do")], 2),
        ([], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(findings: list[Finding], code: int) -> None:
    assert report(findings, took_s=0)["exit_code"] == code


def test_the_text_fits_a_terminal_of_80_columns_and_has_no_colours_for_a_file(tmp_path: Path) -> None:
    path = configured(tmp_path, nonsense=1)
    said = CliRunner().invoke(app, ["doctor", "-c", str(path)])
    assert said.exit_code == 2
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert "\x1b" not in said.stdout
    assert "→ correct it, then" in said.stdout
    assert " problems, " in said.stdout.splitlines()[-1]


def test_json_says_the_same_to_programs(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["doctor", "-c", str(configured(tmp_path)), "--json"])
    told = json.loads(said.stdout)
    assert said.exit_code == told["exit_code"] == 2  # it is not enrolled
    assert sum(told["counts"].values()) == len(told["checks"])
    [enrolled] = [check for check in told["checks"] if check["check"] == "identity.enrolled"]
    assert enrolled["state"] == "problem"
    assert "edge-agent enroll" in enrolled["next"]


def test_it_writes_nothing(tmp_path: Path) -> None:
    doctor(configured(tmp_path), Machine(tmp_path / "machine").host())
    assert [path.name for path in tmp_path.rglob("*")] == ["gateway.yaml"]
