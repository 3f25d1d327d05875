"""The install guide: its commands do what it says, and the installer installs without a network."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import HEALTH, ROOT, blocks, environment, free_ports, page, replaced, typed

GUIDE = page("docs/install.md")
ALLOW_PUSH = "etc/systemd/system/gatehouse-edge-agent.service.d/allow-push.conf"


@contextlib.contextmanager
def running(words: list[str], folder: Path, *, until: str) -> Iterator[None]:
    with subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        heard = []
        try:
            for line in process.stdout:
                heard.append(line)
                if until in line:
                    break
            else:
                raise AssertionError("".join(heard))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()


def test_the_commands_of_the_guide_lead_to_a_reading_in_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter, health, collector = free_ports(3)
    config = tmp_path / "etc" / "gateway.yaml"
    monkeypatch.setenv("GATEHOUSE_GATEWAY_CONFIG", str(config))  # as the installed command has it
    typed(f"edge-agent init {config.parent} --state-dir {tmp_path / 'var'}", tmp_path)
    text = replaced(config.read_text(), "port: 5020", f"port: {meter}")
    config.write_text(replaced(text, f"port: {HEALTH}", f"port: {health}"))
    at_collector = "\n".join(blocks(GUIDE, "sh collector"))
    typed(replaced(at_collector, "collector.example:8443", f"localhost:{collector}"), tmp_path)
    at_gateway = "\n".join(blocks(GUIDE, "sh gateway")).splitlines()
    assert [line.split()[1] for line in at_gateway if line] == ["check", "read", "enroll", "status", "doctor"]
    simulator = ["simulators", "modbus", "--profile", "eastron-sdm630", "--port", str(meter), "--unit", "1"]
    with (
        running(simulator, tmp_path, until="eastron-sdm630"),
        running(["collector", "serve"], tmp_path, until="http"),
    ):
        first = [line for line in at_gateway if line and line.split()[1] in ("check", "read", "enroll")]
        said = typed("\n".join(first), tmp_path)
        assert "voltage_l1_v" in said
        assert "Enrolled as gw-" in said
        with running(["edge-agent", "launch"], tmp_path, until="/status"):
            ask = "until edge-agent status --json | grep -q '\"last_receipt_ms\": [1-9]'; do sleep 0.2; done"
            typed(ask, tmp_path)
            assert "answers" in typed("edge-agent doctor || [ $? = 1 ]", tmp_path)
            assert "meter-01" in typed("edge-agent status", tmp_path)


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As scripts/stick fills one, with our own package and pip alone: the rest is on this machine already."""
    folder = tmp_path_factory.mktemp("stick")
    (folder / "wheels").mkdir()
    (folder / "systemd").mkdir()
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *words, "--wheel-dir", folder / "wheels", ROOT], check=True, cwd=folder)
    import pip

    source = Path(str(pip.__file__)).parent
    with zipfile.ZipFile(folder / "wheels" / "pip-0-py3-none-any.whl", "w") as wheel:
        for path in source.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wheel.write(path, f"pip/{path.relative_to(source)}")
    for file in (ROOT / "firmware_configs" / "systemd").glob("gatehouse-edge-agent.*"):
        (folder / "systemd" / file.name).write_bytes(file.read_bytes())
    for file in (ROOT / "scripts" / "install-gateway", ROOT / "docs" / "install.md"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "edge.lock").write_text("")
    (folder / "release.pub").write_text("00" * 32)
    return folder


def installed(stick: Path, root: Path, *options: str) -> str:
    site = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "DESTDIR": str(root), "PYTHON": sys.executable, "PYTHONPATH": site}
    words = ["sh", str(stick / "install-gateway"), *options]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installer_puts_everything_in_its_place_and_touches_no_configuration_again(
    stick: Path, tmp_path: Path
) -> None:
    said = installed(stick, tmp_path)
    assert "now describe what is connected" in said
    config = tmp_path / "etc" / "gatehouse"
    assert 'state_dir: "/var/lib/gatehouse"' in (config / "gateway.yaml").read_text()
    assert (config / "at-rest.key").stat().st_size == 32
    assert (config / "at-rest.key").stat().st_mode & 0o777 == 0o600
    assert (config / "release.pub").exists()
    assert (tmp_path / "etc/systemd/system/gatehouse-edge-agent.service").exists()
    assert (tmp_path / "usr/lib/sysusers.d/gatehouse-edge-agent.conf").exists()
    assert os.access(tmp_path / "usr/local/bin/edge-agent", os.X_OK)
    assert (tmp_path / "opt/gatehouse/bin/edge-agent").exists()
    assert not (tmp_path / ALLOW_PUSH).exists()
    (config / "gateway.yaml").write_text("mine")
    key = (config / "at-rest.key").read_bytes()
    installed(stick, tmp_path)
    assert (config / "gateway.yaml").read_text() == "mine"
    assert (config / "at-rest.key").read_bytes() == key


def test_the_agent_may_write_its_configuration_once_somebody_has_said_so_and_stays_so(
    stick: Path, tmp_path: Path
) -> None:
    installed(stick, tmp_path, "--allow-push")
    shipped = (stick / "systemd" / "gatehouse-edge-agent.allow-push.conf").read_text()
    assert (tmp_path / ALLOW_PUSH).read_text() == shipped
    (tmp_path / ALLOW_PUSH).write_text("an older one")
    installed(stick, tmp_path)
    assert (tmp_path / ALLOW_PUSH).read_text() == shipped


def test_the_installer_makes_no_second_key_where_systemd_has_the_first(stick: Path, tmp_path: Path) -> None:
    credential = tmp_path / "etc" / "credstore.encrypted" / "gatehouse-at-rest"
    credential.parent.mkdir(parents=True)
    credential.write_bytes(b"sealed")
    installed(stick, tmp_path)
    assert not (tmp_path / "etc" / "gatehouse" / "at-rest.key").exists()


def test_the_command_of_root_is_the_agents_but_for_what_writes_the_configuration(
    stick: Path, tmp_path: Path
) -> None:
    installed(stick, tmp_path)
    command = tmp_path / "usr" / "local" / "bin" / "edge-agent"
    command.write_text(command.read_text().replace("/opt/gatehouse/bin/edge-agent", "program"))
    for name, does in (("id", "echo 0"), ("setpriv", 'echo "$2: $*"'), ("program", 'echo "root: $*"')):
        (command.parent / name).write_text(f"#!/bin/sh\n{does}\n")
        (command.parent / name).chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"

    def said(*words: str) -> str:
        return subprocess.check_output([command, *words], env={"PATH": path}, text=True)

    assert said("config", "rollback", "3") == "root: config rollback 3\n"
    assert said("config", "history").startswith("gatehouse: ")
    assert said().startswith("gatehouse: ")


def test_a_gateway_installs_nothing_that_only_a_collector_needs() -> None:
    def names(extra: str) -> set[str]:
        text = (ROOT / "requirements" / f"{extra}.lock").read_text()
        return set(re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE))

    only_there = {"fastapi", "sqlalchemy", "alembic", "numpy", "scikit-learn", "uvicorn", "jinja2"}
    assert only_there <= names("collector")
    assert not only_there & names("edge")


def test_the_guide_names_only_files_that_there_are() -> None:
    named = set(re.findall(r"`((?:scripts|firmware_configs|requirements|docs)/[^` ]+)`", GUIDE))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
