"""What systemd hears of the agent, on a real socket."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.app import Machine, run_agent
from edge_agent.config import load_config
from edge_agent.service_manager import ServiceManager
from tests.support.clocks import fast_clock
from tests.support.gateways import configured


@contextlib.contextmanager
def systemd(name: str) -> Iterator[socket.socket]:
    """The other end of NOTIFY_SOCKET; a name that begins with @ is in no folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + name[1:] if name.startswith("@") else name)
        heard.settimeout(10)
        yield heard


@pytest.mark.parametrize("abstract", [True, False])
def test_it_says_how_it_is(tmp_path: Path, abstract: bool) -> None:
    name = f"@{tmp_path}/n" if abstract else str(tmp_path / "n")
    with systemd(name) as heard:
        manager = ServiceManager.of({"NOTIFY_SOCKET": name})
        manager.ready("reading 3 devices")
        manager.status("all is well")
        manager.stopping("finishing")
        assert [heard.recv(200) for _ in range(3)] == [
            b"READY=1\nSTATUS=reading 3 devices",
            b"STATUS=all is well",
            b"STOPPING=1\nSTATUS=finishing",
        ]


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "500000"}, None),
        ({}, None),
    ],
)
def test_only_a_watchdog_of_this_process_counts(
    environment: dict[str, str], watchdog_s: float | None
) -> None:
    assert ServiceManager.of(environment).watchdog_s == watchdog_s


def test_a_socket_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    name = str(tmp_path / "n")
    with systemd(name):
        manager = ServiceManager(name)
        for _ in range(10_000):
            manager.status("x" * 1000)
    manager.status("and it is gone")


async def test_the_watchdog_hears_from_the_loop_while_all_is_well(tmp_path: Path) -> None:
    name, well = str(tmp_path / "n"), [True, True, False, True]
    with systemd(name) as heard:
        heard.setblocking(False)
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(
            ServiceManager(name, watchdog_s=0.003).keep_alive(lambda: well.pop(0) if well else True)
        )
        assert [await loop.sock_recv(heard, 200) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        task.cancel()
        await asyncio.wait([task])
    assert not well


async def test_a_running_agent_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    name, stop = str(tmp_path / "n"), asyncio.Event()
    config = load_config(configured(tmp_path, health={"port": 0}))
    with systemd(name) as heard:
        heard.setblocking(False)
        manager = ServiceManager(name, watchdog_s=0.03)
        agent = asyncio.create_task(
            run_agent(config, clock=fast_clock(1), stop=stop, machine=Machine(manager=manager))
        )
        loop, said = asyncio.get_running_loop(), list[bytes]()
        while not {b"READY=1\nSTATUS=reading 0 devices", b"WATCHDOG=1"} <= set(said):
            said.append(await loop.sock_recv(heard, 200))
        stop.set()
        while not said[-1].startswith(b"STOPPING=1"):
            said.append(await loop.sock_recv(heard, 200))
        await agent
