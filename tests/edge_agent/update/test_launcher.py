"""Updates with real processes: the launcher, the agent's real code as a release, and kills."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.commands.update import apply, roll_back, stage, status
from edge_agent.config.journal import Journal, Trial
from edge_agent.observed import ask_status
from edge_agent.update.releases import Releases
from models.errors import NeedsAHuman
from tests.support.releases import ROOT, agent_tree, packed, small_tree, trust

CRASHES = "raise SystemExit(3)\n"
HANGS = "import time\ntime.sleep(600)\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Gateway:
    """A folder with a gateway whose agent is started by a launcher."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.config = folder / "gateway.yaml"
        self.config.write_text(json.dumps({"health": {"port": self.port}}))
        self.releases = Releases(self.config, folder / "state")
        self.process: subprocess.Popen[bytes] | None = None
        trust(folder)

    def stage(self, version: str, main: str | None = None) -> None:
        """The agent's real code, or in its place a program `main`."""
        folder = self.folder / f"tree-{version}"
        tree = agent_tree(folder, version) if main is None else small_tree(folder, main)
        stage(self.config, packed(self.folder / f"{version}.release", tree, version)[0])

    @contextlib.contextmanager
    def launched(self, *, healthy_within_s: float = 60) -> Iterator[None]:
        words = [
            "-m",
            "edge_agent",
            "launch",
            "-c",
            str(self.config),
            "--healthy-within",
            str(healthy_within_s),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, stderr=log, stdout=log, start_new_session=True
            )
        try:
            yield
        finally:
            self.process.terminate()
            self.process.wait()

    def kill(self) -> None:
        """As a loss of power ends everything at once."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def until(self, condition: Callable[[], bool], *, within_s: float = 60) -> None:
        end_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end_s, (self.folder / "log").read_text()
            time.sleep(0.02)

    def version(self) -> str:
        """Of the agent that answers."""
        found = ask_status("127.0.0.1", self.port, self.config.parent / "state")
        return "" if found is None else found.version


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def test_a_good_release_is_taken_kept_over_a_restart_left_again_and_never_started_damaged(
    gateway: Gateway,
) -> None:
    gateway.stage("9.1")
    with gateway.launched():
        gateway.until(lambda: gateway.version() != "")
        installed = gateway.version()
        answer = apply(gateway.config, None, wait=True)
        assert answer.is_good, (gateway.folder / "log").read_text()
        assert gateway.version() == "9.1"
    with gateway.launched():
        gateway.until(lambda: gateway.version() == "9.1")
        roll_back(gateway.config)
        gateway.until(lambda: gateway.version() == installed)
        told = status(gateway.config).data
        assert (told["current"], told["previous"], told["launched"]) == (installed, "9.1", True)
        assert [one["what"] for one in told["history"]] == ["staged", "tried", "taken", "rolled-back"]
        (gateway.releases.place("9.1") / "lib" / "models" / "times.py").write_text("flipped\n")
        roll_back(gateway.config)
        gateway.until(lambda: "not as it was signed" in gateway.releases.state().failed.get("9.1", ""))
        gateway.until(lambda: gateway.version() == installed)


def test_a_release_that_crashes_or_hangs_is_left_for_the_one_before_it(gateway: Gateway) -> None:
    gateway.stage("9.1", CRASHES)
    gateway.stage("9.2", HANGS)
    with gateway.launched(healthy_within_s=3):
        gateway.until(lambda: gateway.version() != "")
        installed = gateway.version()
        crashed = apply(gateway.config, "9.1", wait=True)
        hung = apply(gateway.config, "9.2", wait=True)
        gateway.until(lambda: gateway.version() == installed)
    assert "it ended by itself (exit code 3)" in crashed.data["detail"]
    assert "its page /status does not answer" in hung.data["detail"]
    assert not crashed.is_good
    assert not hung.is_good
    with pytest.raises(NeedsAHuman, match="was not well here"):
        gateway.releases.begin_trial("9.1", devices_answered=False, collector_reached=False)


def test_a_push_that_was_cut_off_between_two_files_is_undone_before_they_are_read(gateway: Gateway) -> None:
    def files(bus: str) -> dict[str, bytes]:
        main = {
            "health": {"port": gateway.port},
            "buses": [{"id": bus, "modbus_tcp": {"host": "127.0.0.1", "port": 1}}],
            "devices_csv": "more.csv",
        }
        csv = f"id,bus,profile,period_s\nm-1,{bus},eastron-sdm630,60\n"
        return {"gateway.yaml": json.dumps(main).encode(), "more.csv": csv.encode()}

    before, after = files("old"), files("new")
    Journal(gateway.folder / "state").write(
        Trial(
            id="p-1", collector="main", number=1, by="li", why="", confirm_s=120, before=before, after=after
        )
    )
    gateway.config.write_bytes(before["gateway.yaml"])
    csv = gateway.folder / "more.csv"
    csv.write_bytes(after["more.csv"])
    with gateway.launched():
        gateway.until(lambda: gateway.version() != "")
    assert csv.read_bytes() == before["more.csv"]


@pytest.mark.soak
def test_a_release_that_takes_the_machine_down_each_time_is_given_up(gateway: Gateway) -> None:
    gateway.stage("9.3", HANGS)
    releases = gateway.releases

    def attempts(count: int) -> Callable[[], bool]:
        return lambda: (trial := releases.state().trial) is not None and trial.attempts == count

    with gateway.launched():
        gateway.until(releases.is_launched)
        apply(gateway.config, "9.3", wait=False)
        gateway.until(attempts(1))
        gateway.kill()
    with gateway.launched():
        gateway.until(attempts(2))
        gateway.kill()
    with gateway.launched():
        gateway.until(lambda: gateway.version() != "")
    assert "began 2 times" in releases.state().failed["9.3"]


def test_a_loss_of_power_in_the_trial_of_a_good_release_costs_one_more_attempt(gateway: Gateway) -> None:
    gateway.stage("9.1")
    with gateway.launched():
        gateway.until(gateway.releases.is_launched)
        apply(gateway.config, "9.1", wait=False)
        gateway.until(lambda: (trial := gateway.releases.state().trial) is not None and trial.attempts == 1)
        gateway.kill()
    with gateway.launched():
        gateway.until(lambda: gateway.releases.state().current == "9.1")
    assert [one.what for one in gateway.releases.state().history] == ["staged", "tried", "tried", "taken"]


def test_without_a_launcher_nothing_is_tried(gateway: Gateway) -> None:
    gateway.stage("9.1", HANGS)
    with pytest.raises(NeedsAHuman, match="edge-agent launch"):
        apply(gateway.config, None, wait=True)
    assert gateway.releases.state().trial is None


def test_an_agent_that_ends_by_itself_ends_the_launcher_for_systemd_to_start_both(gateway: Gateway) -> None:
    with gateway.launched():
        assert gateway.process is not None
        children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children")
        gateway.until(lambda: bool(children.read_text()))
        os.kill(int(children.read_text()), signal.SIGKILL)
        assert gateway.process.wait() == 1
