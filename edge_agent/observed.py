"""Finds out how a gateway is: from the running agent, or from its files when none runs."""

import asyncio
import http.client
import sqlite3
import time
from pathlib import Path

import aiosqlite
import msgspec

from edge_agent.buffer.database import bytes_used
from edge_agent.buffer.outboxes import counts, load_outboxes
from edge_agent.config import Config
from edge_agent.files import is_locked
from edge_agent.identity.folder import IdentityDamaged, NotEnrolled, load_identity
from edge_agent.status import BufferStatus, CollectorStatus, DeviceStatus, OutboxStatus, Status, by_stick
from edge_agent.version import agent_version
from models.errors import NeedsAHuman

TIMEOUT_S = 5.0


class NoAnswer(NeedsAHuman):
    """An agent runs, but its status page cannot be read."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"an agent runs with this configuration, but its page http://{host}:{port}/status does not "
            "answer; if health.port was changed, restart the agent; if another program has the port, choose "
            "another health.port"
        )


def find_status(config: Config) -> Status:
    """What the running agent says, or else its files. Raises NoAnswer when neither can be had."""
    health = config.settings.health
    found = ask_status(health.host, health.port, config.state_dir)
    if found is None and is_running(config.buffer_file):
        raise NoAnswer(health.host, health.port)
    return found or _from_the_files(config)


def ask_page(host: str, port: int, path: str, *, timeout_s: float = TIMEOUT_S) -> bytes | None:
    """What the running agent shows there; None when nobody answers, or with an error."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_status(host: str, port: int, state_dir: Path, *, timeout_s: float = TIMEOUT_S) -> Status | None:
    """The status page; None when the agent with this state folder does not answer there."""
    page = ask_page(host, port, "/status", timeout_s=timeout_s)
    if page is None:
        return None
    try:
        found = msgspec.json.decode(page, type=Status)
    except msgspec.MsgspecError:
        return None
    return found if found.state_dir == str(state_dir.resolve()) else None


def is_running(buffer_file: Path) -> bool:
    """Whether an agent has this buffer open. Raises NeedsAHuman for a user who may not know."""
    lock = buffer_file.with_name(buffer_file.name + ".lock")
    try:
        return is_locked(lock)
    except PermissionError as err:
        told = f"{lock}: {err.strerror}; only root and the user that the agent runs as can see how it is"
        raise NeedsAHuman(told) from err


def _from_the_files(config: Config) -> Status:
    return Status(
        running=False,
        version=agent_version(),
        state_dir=str(config.state_dir.resolve()),
        now_ms=time.time_ns() // 1_000_000,
        started_ms=None,
        time_from="",
        buffer=buffer_of(config.buffer_file),
        collectors={collector.name: _collector(config, collector.name) for collector in config.collectors},
        devices=[
            DeviceStatus(
                id=device.id,
                name=device.name,
                bus=device.bus,
                profile=device.profile,
                period_s=device.period_s,
                state="new",
            )
            for device in config.settings.devices
        ],
    )


def buffer_of(path: Path) -> BufferStatus | None:
    """What the file says; it is opened for reading alone. None while there is none."""
    if not path.exists():
        return None
    try:
        return asyncio.run(_counted(f"{path.resolve().as_uri()}?mode=ro"))
    except sqlite3.Error as err:
        raise NeedsAHuman(
            f"{path}: cannot be read ({err}); an agent that starts sets a damaged one aside"
        ) from err


async def _counted(uri: str) -> BufferStatus:
    async with aiosqlite.connect(uri, uri=True) as connection:
        return BufferStatus(
            bytes_used=await bytes_used(connection),
            outboxes={
                name: OutboxStatus.of(await counts(connection, state), state.epoch)
                for name, state in (await load_outboxes(connection)).items()
            },
        )


def _collector(config: Config, name: str) -> CollectorStatus:
    try:
        identity = load_identity(config.state_dir, name)
    except (NotEnrolled, IdentityDamaged) as err:
        return CollectorStatus(state="not-enrolled", problem=str(err), needs_a_human=True)
    if config.collector(name).carrier == "stick":
        return by_stick(identity)
    return CollectorStatus(
        state="failing",
        carrier=config.collector(name).carrier,
        problem="the agent does not run; start it: edge-agent run",
        gateway_id=identity.gateway_id,
        url=identity.collector.url,
        certificate_expires=identity.expires.isoformat(),
    )
