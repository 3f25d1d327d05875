"""Telling how a gateway is: from the running agent, or from its files when none runs."""

import asyncio
import fcntl
import http.client
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from edge_agent.buffer.batches import counts, position
from edge_agent.commands.answer import Answer, table
from edge_agent.config import Config, load_config
from edge_agent.identity.folder import IdentityDamaged, NotEnrolled, load_identity
from edge_agent.status import BufferStatus, DeviceStatus, Status, UplinkStatus
from edge_agent.version import agent_version
from models.errors import NeedsAHuman
from models.times import utc_text

TIMEOUT_S = 5.0


class NoAnswer(NeedsAHuman):
    """An agent runs, but its status page cannot be read."""


def status(path: Path) -> Answer:
    config = load_config(path)
    found = _from_the_agent(config)
    if found is None:
        if _is_running(config):
            health = config.settings.health
            raise NoAnswer(
                "an agent runs with this configuration, but its page "
                f"http://{health.host}:{health.port}/status does not answer; "
                "if health.port was changed, restart the agent"
            )
        found = _from_the_files(config)
    return Answer(msgspec.to_builtins(found), _text(found), is_good=found.is_well)


def _from_the_agent(config: Config) -> Status | None:
    health = config.settings.health
    connection = http.client.HTTPConnection(health.host, health.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        return msgspec.json.decode(response.read(), type=Status)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


def _is_running(config: Config) -> bool:
    lock = config.buffer_file.with_name(config.buffer_file.name + ".lock")
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError as err:
        told = f"{lock}: {err.strerror}; only root and the user that the agent runs as can see how it is"
        raise NeedsAHuman(told) from err
    except OSError:
        return False
    return False


def _from_the_files(config: Config) -> Status:
    return Status(
        running=False,
        version=agent_version(),
        now_ms=time.time_ns() // 1_000_000,
        started_ms=None,
        time_from="",
        buffer=_buffer(config.buffer_file),
        uplink=_uplink(config),
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


def _buffer(path: Path) -> BufferStatus | None:
    """What the file says; it is opened for reading alone."""
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
        return BufferStatus.of(await counts(connection), epoch=(await position(connection)).epoch)


def _uplink(config: Config) -> UplinkStatus:
    try:
        identity = load_identity(config.state_dir)
    except (NotEnrolled, IdentityDamaged) as err:
        return UplinkStatus(state="not-enrolled", problem=str(err), needs_a_human=True)
    return UplinkStatus(
        state="failing",
        problem="the agent does not run; start it: edge-agent run",
        gateway_id=identity.gateway_id,
        url=identity.collector.url,
        certificate_expires=identity.expires.isoformat(),
    )


def _text(status: Status) -> str:
    parts = [_headline(status), _about_uplink(status), _about_buffer(status)]
    if status.devices:
        rows = [_device_row(device, status.now_ms) for device in status.devices]
        parts.append(table(["device", "name", "state", "last answer", "every", "polls", "missed"], rows))
    return "\n".join(part for part in parts if part)


_TIME_FROM = {
    "system": "the system clock, which a time service keeps",
    "collector": "the collector",
    "earlier": "an earlier run since the machine started",
}


def _headline(status: Status) -> str:
    if not status.running:
        return "The agent does not run; this is what its files say."
    if not status.time_from:
        return (
            f"edge-agent {status.version} runs. The time is not known yet: readings are kept, and sent once "
            "a time service or the collector tells it."
        )
    since = utc_text(status.started_ms) if status.started_ms is not None else "?"
    return (
        f"edge-agent {status.version} runs since {since}. The time comes from {_TIME_FROM[status.time_from]}."
    )


def _about_uplink(status: Status) -> str:
    uplink = status.uplink
    if uplink.state == "not-enrolled":
        return f"Collector: {uplink.problem}"
    until = uplink.certificate_expires[:10]
    lines = [f"Collector: {uplink.url}, as {uplink.gateway_id}; certificate until {until}"]
    if uplink.last_receipt_ms is not None:
        lines[0] += f"; last receipt {_ago(uplink.last_receipt_ms, status.now_ms)}"
    if uplink.problem:
        lines.append(f"  Nothing is sent: {uplink.problem}")
    return "\n".join(lines)


def _about_buffer(status: Status) -> str:
    buffer = status.buffer
    if buffer is None:
        return "Buffer: none yet; it is made when the agent first runs."
    lines = [
        f"Buffer: {buffer.produced} produced = {buffer.delivered} delivered + {buffer.pending} pending + "
        f"{buffer.quarantined} quarantined + {buffer.dropped} dropped; {buffer.bytes_used / (1 << 20):.1f} MB"
    ]
    if not buffer.conserved:
        lines.append("  These do not add up: keep a copy of the buffer file and report this.")
    if buffer.oldest_pending_ms is not None:
        lines.append(
            f"  The oldest that is not delivered was read {_ago(buffer.oldest_pending_ms, status.now_ms)}."
        )
    if buffer.held_in_memory:
        lines.append(
            f"  The disk refuses readings: {buffer.held_in_memory} are in memory alone. Free space on it."
        )
    return "\n".join(lines)


def _device_row(device: DeviceStatus, now_ms: int) -> list[str]:
    state: dict[str, Any] = {"ok": "ok", "new": "not read yet"}
    lost = f"{device.reason.replace('_', ' ')} since {_ago(device.lost_since_ms or now_ms, now_ms)}"
    answered = _ago(device.answered_ms, now_ms) if device.answered_ms is not None else "never"
    return [
        device.id,
        device.name,
        state.get(device.state, lost),
        answered,
        f"{device.period_s:g} s",
        str(device.polls),
        str(device.missed_polls),
    ]


def _ago(then_ms: int, now_ms: int) -> str:
    seconds = max(0, now_ms - then_ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
