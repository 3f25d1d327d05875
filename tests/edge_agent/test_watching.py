"""`edge-agent status --watch` in a real terminal, before a real agent."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.commands.watching import Screen
from edge_agent.status import BufferStatus, CollectorStatus, DeviceStatus, Status
from tests.support.gateways import NOW_MS

ROOT = Path(__file__).parents[2]
LEAVES = b"\x1b[?1049l"  # the screen of before is back
SHOWS_CURSOR = b"\x1b[?25h"


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "from edge_agent.cli import app; app()", *map(str, words)]


@dataclass
class Terminal:
    """What a program has written to a terminal."""

    leader: int
    process: "subprocess.Popen[bytes]"
    said: bytes = b""

    def until(self, text: str) -> bytes:
        """All that came, up to a frame with this text."""
        start = len(self.said)
        while text.encode() not in self.said[start:]:
            self.said += self._read()
        return self.said[start:]

    def end(self) -> int:
        with contextlib.suppress(OSError):  # EIO: nobody has the other end open any more
            while more := os.read(self.leader, 65_536):
                self.said += more
        return self.process.wait()

    def resize(self, *, rows: int, columns: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def _read(self) -> bytes:
        data = os.read(self.leader, 65_536)
        assert data, self.said
        return data


@contextlib.contextmanager
def terminal(*words: object, rows: int = 40, columns: int = 110) -> Iterator[Terminal]:
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        command(*words), stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    try:
        yield Terminal(leader, process)
    finally:
        process.kill()
        process.wait()
        os.close(leader)


@contextlib.contextmanager
def agent(path: Path) -> Iterator[int]:
    """A real one; the port of its pages."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command("run", "-c", path), stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "/status" in line)
        try:
            yield int(line.rpartition("/status")[0].rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def written(folder: Path, port: int) -> Path:
    path = folder / "gateway.yaml"
    settings = {
        "health": {"port": port},
        "buses": [{"id": "rack", "modbus_tcp": {"host": "127.0.0.1", "port": 1}}],
        "devices": [{"id": "meter-01", "bus": "rack", "profile": "eastron-sdm630", "period_s": 1}],
    }
    path.write_text(json.dumps(settings))
    return path


def test_it_shows_an_agent_live_follows_the_size_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with agent(written(tmp_path, 0)) as port:
        path = written(tmp_path, port)
        with terminal("status", "--watch", "-c", path) as shown:
            first = shown.until("meter-01")
            assert b"Ctrl-C ends this" in first
            assert b"rack" in shown.until("meter-01")  # and again: it is live
            shown.resize(rows=30, columns=60)
            shown.until("meter-01")
            narrow = shown.until("meter-01").decode()
            lines = re.split(r"\r\n|\x1b\[H", narrow)  # H: the next frame begins
            widest = max(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) for line in lines)
            assert widest <= 60
            shown.process.send_signal(signal.SIGINT)
            code = shown.end()
    assert code == 0
    assert LEAVES in shown.said
    assert shown.said.rindex(SHOWS_CURSOR) > shown.said.rindex(b"meter-01")
    assert b"Traceback" not in shown.said


def test_it_goes_on_while_the_agent_is_away(tmp_path: Path) -> None:
    path = written(tmp_path, 1)
    with terminal("status", "--watch", "-c", path) as shown:
        shown.until("The agent does not run")
        shown.until("The agent does not run")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0


def test_into_a_file_it_is_the_plain_text_once(tmp_path: Path) -> None:
    path = written(tmp_path, 1)
    plain = CliRunner().invoke(app, ["status", "-c", str(path)])
    watched = CliRunner().invoke(app, ["status", "--watch", "-c", str(path)])
    assert (watched.exit_code, watched.stdout) == (plain.exit_code, plain.stdout)
    as_json = CliRunner().invoke(app, ["status", "--watch", "--json", "-c", str(path)])
    assert json.loads(as_json.stdout)["running"] is False


def many(count: int) -> Status:
    devices = [
        DeviceStatus(
            id=f"meter-{number:03}",
            name="",
            bus=f"line-{number % 2}",
            profile="p",
            period_s=60,
            state="lost" if number == count - 1 else "ok",
            lost_since_ms=NOW_MS if number == count - 1 else None,
            answered_ms=NOW_MS,
            reason="no_reply",
        )
        for number in range(count)
    ]
    return Status(
        running=True,
        version="1",
        state_dir="/gateway/state",
        now_ms=NOW_MS,
        started_ms=NOW_MS,
        time_from="system",
        buffer=BufferStatus(bytes_used=0, outboxes={}),
        collectors={"main": CollectorStatus(state="ok")},
        devices=devices,
    )


def test_more_devices_than_lines_never_push_the_lost_one_off_the_screen() -> None:
    for height in (12, 24, 60):
        console = Console(width=100, height=height, force_terminal=False)
        with console.capture() as capture:
            console.print(Screen(many(200)))
        lines = capture.get().splitlines()
        assert len(lines) <= max(height, 14)
        if height > 20:
            assert "meter-199" in capture.get()
            assert re.search(r"and 1\d\d more", capture.get())
