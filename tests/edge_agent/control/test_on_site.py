"""The socket for whoever stands at the gateway: who may ask, what is asked, and what goes on record."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.control.client import AgentSaysNo, ask_agent, myself
from edge_agent.control.on_site import (
    MOST_CONVERSATIONS,
    SOCKET,
    Answer,
    Peer,
    Question,
    serve_on_site,
    short_name,
)
from models.reading import Reading
from tests.support.needs import needs_root

ROOT = Path(__file__).parents[3]
OPEN = Question(do="act", device="door-01", action="open_once", arguments={"door": 1})


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[list[tuple[Question, Peer]]]:
    """Answers every question with the name of its device; what was asked, and by whom."""
    asked: list[tuple[Question, Peer]] = []

    async def answer(question: Question, peer: Peer) -> Answer:
        asked.append((question, peer))
        return Answer(state=question.device)

    async with serve_on_site(folder / SOCKET, answer):
        yield asked


async def test_a_question_is_answered_and_the_kernel_says_who_asks(tmp_path: Path) -> None:
    async with serving(tmp_path) as asked:
        answer = await asyncio.to_thread(ask_agent, tmp_path, OPEN)
    assert answer == Answer(state="door-01")
    assert asked == [(OPEN, myself())]
    assert f"(uid {os.geteuid()})" in myself().name


async def test_the_socket_is_for_its_owner_and_gone_afterwards(tmp_path: Path) -> None:
    async with serving(tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
    assert not (tmp_path / SOCKET).exists()
    assert await asyncio.to_thread(ask_agent, tmp_path, OPEN) is None


async def test_a_socket_that_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left, short_name(tmp_path / SOCKET) as name:
        left.bind(name)
    assert await asyncio.to_thread(ask_agent, tmp_path, OPEN) is None
    async with serving(tmp_path):
        assert await asyncio.to_thread(ask_agent, tmp_path, OPEN) == Answer(state="door-01")


def test_where_the_state_folder_is_a_file_no_agent_runs(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert ask_agent(tmp_path / "state", OPEN) is None


async def test_a_folder_may_lie_as_deep_as_it_likes(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    async with serving(deep):
        assert await asyncio.to_thread(ask_agent, deep, OPEN) == Answer(state="door-01")


@needs_root
async def test_another_user_is_refused_whatever_the_rights_of_the_file_are(tmp_path: Path) -> None:
    code = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(f'/proc/self/fd/{sys.argv[1]}/control.sock')\n"
        'try: s.sendall(b\'{"do": "act", "device": "door-01"}\\n\')\n'
        "except BrokenPipeError: pass\n"
        "print(s.makefile().readline())"
    )
    async with serving(tmp_path) as asked:
        (tmp_path / SOCKET).chmod(0o666)
        tmp_path.chmod(0o755)  # noqa: ASYNC240  # it is the other lock that is tested
        folder = os.open(tmp_path, os.O_PATH)
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", code, str(folder)],
                pass_fds=[folder],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            os.close(folder)
    assert json.loads(done.stdout)["code"] == "not-you", done.stderr
    assert asked == []


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"do": "explode", "device": "a"}\n',
        b'{"do": "act", "device": 1}\n',
        b'{"do": "act", "device": "a", "more": 1}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b'{"do": "act", "device": "a", "arguments": {"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}\n",
    ],
)
async def test_what_is_no_question_is_refused(tmp_path: Path, line: bytes) -> None:
    async with serving(tmp_path) as asked:
        with short_name(tmp_path / SOCKET) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        writer.write(line)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert json.loads(answer)["code"] == "malformed"
    assert asked == []


async def test_what_never_ends_is_cut_off_and_so_are_too_many_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as asked:
        with short_name(tmp_path / SOCKET) as name:
            connections = [await asyncio.open_unix_connection(name) for _ in range(MOST_CONVERSATIONS + 3)]
        with contextlib.suppress(OSError):
            connections[0][1].write(b"x" * 300_000)
            await connections[0][1].drain()
        with contextlib.suppress(OSError):
            assert await connections[0][0].read() == b""
        for reader, _ in connections[-3:]:
            assert await reader.read() == b""
        for _, writer in connections:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    assert asked == []


async def test_an_agent_that_ends_before_it_answers_is_no_answer(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def never(question: Question, peer: Peer) -> Answer:
        gate.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serve_on_site(tmp_path / SOCKET, never):
        waiting = asyncio.create_task(asyncio.to_thread(ask_agent, tmp_path, OPEN))
        await gate.wait()
    with pytest.raises(AgentSaysNo, match="look at the device"):
        await waiting


def test_no_repr_of_a_question_shows_its_arguments() -> None:
    question = msgspec.structs.replace(OPEN, arguments={"card": "83726451"})
    assert "83726451" not in repr(question)


def test_readings_survive_the_way() -> None:
    reading = Reading(device_id="m", point="p", value=1.5, measured_ms=1, received_ms=2)
    answer = Answer(readings=[reading])
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer
