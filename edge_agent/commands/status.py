"""Telling how a gateway is."""

from pathlib import Path
from typing import Any

import msgspec

from edge_agent.commands.answer import Answer, table
from edge_agent.config import load_config
from edge_agent.observed import find_status
from edge_agent.status import CollectorStatus, DeviceStatus, Status
from models.times import utc_text

DEVICE_TITLES = ("device", "name", "state", "last answer", "every", "polls", "missed")


def status(path: Path) -> Answer:
    """Of the gateway with this configuration. Bad news when anything needs anybody."""
    found = find_status(load_config(path))
    return Answer(msgspec.to_builtins(found), _text(found), is_good=found.is_well)


def summary(status: Status) -> str:
    """All but the devices."""
    collectors = [_about_collector(name, one, status.now_ms) for name, one in status.collectors.items()]
    return "\n".join((_headline(status), *collectors, _about_buffer(status)))


def _text(status: Status) -> str:
    parts = [summary(status)]
    if status.devices:
        rows = [device_row(device, status.now_ms) for device in status.devices]
        parts.append(table(list(DEVICE_TITLES), rows))
    return "\n".join(part for part in parts if part)


_TIME_FROM = {
    "system": "the system clock, which a time service keeps",
    "collector": "the collector",
    "person": "somebody at the gateway, who has confirmed its clock",
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


def _about_collector(name: str, collector: CollectorStatus, now_ms: int) -> str:
    if collector.state == "not-enrolled":
        return f"Collector {name}: {collector.problem}"
    if collector.carrier == "stick":
        return (
            f"Collector {name}: by stick, as {collector.gateway_id}; what waits goes with: edge-agent export"
        )
    until = collector.certificate_expires[:10]
    lines = [f"Collector {name}: {collector.url}, as {collector.gateway_id}; certificate until {until}"]
    if collector.last_receipt_ms is not None:
        lines[0] += f"; last receipt {_ago(collector.last_receipt_ms, now_ms)}"
    if collector.problem:
        lines.append(f"  Nothing is sent: {collector.problem}")
    elif collector.certificate_problem:
        lines.append(f"  Its certificate: {collector.certificate_problem}")
    if collector.return_code:
        lines.append(f"  Code to compare with the collector's people: {collector.return_code}")
    return "\n".join(lines)


def _about_buffer(status: Status) -> str:
    buffer = status.buffer
    if buffer is None:
        return "Buffer: none yet; it is made when the agent first runs."
    lines = [f"Buffer: {buffer.bytes_used / (1 << 20):.1f} MB"]
    for name, outbox in buffer.outboxes.items():
        lines.append(
            f"  {name}: {outbox.produced} produced = {outbox.delivered} delivered + {outbox.pending} "
            f"pending + {outbox.quarantined} quarantined + {outbox.dropped} dropped"
        )
        if not outbox.conserved:
            lines.append("  These do not add up: keep a copy of the buffer file and report this.")
        if outbox.oldest_pending_ms is not None:
            ago = _ago(outbox.oldest_pending_ms, status.now_ms)
            lines.append(f"  The oldest that is not delivered was read {ago}.")
    if buffer.held_in_memory:
        lines.append(
            f"  The disk refuses readings: {buffer.held_in_memory} are in memory alone. Free space on it."
        )
    return "\n".join(lines)


def device_row(device: DeviceStatus, now_ms: int) -> list[str]:
    """One text for each of `DEVICE_TITLES`."""
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
