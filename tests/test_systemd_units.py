"""The units that ship are units to systemd, and leave a break-in little to do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli import app as collector
from edge_agent.cli import app as edge_agent
from tests.support.needs import needs_systemd

FOLDER = Path(__file__).parent.parent / "firmware_configs" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSURE = 2.5  # of 10, as `systemd-analyze security` counts; a unit without hardening has 9.6
PROGRAM = re.compile(r"^ExecStart=/opt/gatehouse/bin/(\S+) (.*)$", re.MULTILINE)


def here(unit: Path, folder: Path) -> Path:
    """The unit with a program that this machine has, and with all that may be added to it."""
    copy = folder / unit.name
    copy.write_text(PROGRAM.sub("ExecStart=/bin/true", unit.read_text()))
    for addition in FOLDER.glob(f"{unit.stem}.*.conf"):
        (folder / f"{unit.name}.d").mkdir(exist_ok=True)
        shutil.copy(addition, folder / f"{unit.name}.d")
    return copy


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_has_no_mistake(unit: Path, tmp_path: Path) -> None:
    words = ["systemd-analyze", "verify", "--man=no", str(here(unit, tmp_path))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_leaves_little_open(unit: Path, tmp_path: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(here(unit, tmp_path))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    found = PROGRAM.search(unit.read_text())
    assert found
    command, *words = found[2].split()
    app = {"edge-agent": edge_agent, "collector": collector}[found[1]]
    help_text = CliRunner().invoke(app, [command, "--help"]).stdout
    for option in [word for word in words if word.startswith("--")]:
        assert option in help_text


def test_the_agent_may_ask_whether_its_clock_is_kept() -> None:
    """ProtectClock refuses adjtimex(2), also to ask: no gateway would ever trust its time service."""
    [unit] = [unit.read_text() for unit in UNITS if "edge-agent" in unit.name]
    filters = re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE)
    assert "adjtimex" in filters[-1]
    assert "ProtectClock=yes" not in unit


@needs_systemd
@pytest.mark.parametrize("users", sorted(FOLDER.glob("*.sysusers")), ids=lambda file: file.stem)
def test_the_users_are_users_to_systemd(users: Path) -> None:
    words = ["systemd-sysusers", "--dry-run", str(users)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Would create user" in done.stdout + done.stderr or "Creating user" in done.stdout + done.stderr
