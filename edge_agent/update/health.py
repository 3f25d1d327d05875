"""Says whether a version that is tried is well: what worked before it must work again."""

from edge_agent.status import Status
from edge_agent.update.releases import Trial


def what_is_missing(status: Status | None, trial: Trial, *, version: str) -> str:
    """Why it is not well yet, or "" when it is. `version` is that of the release."""
    if status is None:
        return "its page /status does not answer"
    if not status.running or status.version != version:
        return f"version {status.version} answers in its place"
    buffer = status.buffer
    if buffer is None or buffer.held_in_memory:
        return "it cannot store readings"
    if not buffer.conserved:
        return "its buffer does not add up"
    if trial.devices_answered and not any(device.state == "ok" for device in status.devices):
        return "no device has answered it, and devices did before"
    if trial.collector_reached and not reaches_collector(status):
        return "it has not reached a collector, and the version before it did"
    return ""


def answered(status: Status | None) -> bool:
    """Whether any device answers."""
    return status is not None and any(device.state == "ok" for device in status.devices)


def reaches_collector(status: Status | None) -> bool:
    """Whether a collector has given a receipt since this agent was started."""
    return status is not None and any(
        collector.state == "ok" and collector.last_receipt_ms is not None
        for collector in status.collectors.values()
    )
