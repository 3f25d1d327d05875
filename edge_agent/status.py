"""What a gateway says of itself, as the page /status and the command `status` show it."""

from collections.abc import Callable
from typing import Literal

import msgspec

from drivers.contract import DeviceState
from edge_agent.buffer.contract import Counts
from edge_agent.config import DeviceSection
from edge_agent.identity.folder import Identity


class OutboxStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where all items are, as one collector has them; see `edge_agent.buffer.contract.Counts`."""

    epoch: str
    produced: int
    delivered: int
    pending: int
    quarantined: int
    dropped: int
    conserved: bool
    batches_pending: int
    batches_kept: int
    oldest_pending_ms: int | None

    @classmethod
    def of(
        cls, counts: Counts, epoch: bytes, real_ms: Callable[[int], int] = lambda ms: ms
    ) -> "OutboxStatus":
        """`real_ms` is `Timekeeper.real_ms`."""
        oldest_ms = counts.oldest_pending_ms
        return cls(
            epoch=epoch.hex(),
            produced=counts.produced,
            delivered=counts.delivered,
            pending=counts.pending,
            quarantined=counts.quarantined,
            dropped=counts.dropped,
            conserved=counts.conserved,
            batches_pending=counts.batches_pending,
            batches_kept=counts.batches_kept,
            oldest_pending_ms=None if oldest_ms is None else real_ms(oldest_ms),
        )


class BufferStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept."""

    bytes_used: int
    outboxes: dict[str, OutboxStatus]  # by the name of the collector
    held_in_memory: int = 0  # because the disk refuses them
    lost_from_memory: int = 0

    @property
    def conserved(self) -> bool:
        """Whether nothing is unaccounted for."""
        return all(outbox.conserved for outbox in self.outboxes.values())


class CollectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether what is read arrives at one collector."""

    state: Literal["ok", "failing", "not-enrolled"]
    carrier: str = ""  # https, mqtt or stick
    problem: str = ""
    needs_a_human: bool = False
    gateway_id: str = ""
    url: str = ""
    certificate_expires: str = ""
    certificate_problem: str = ""
    return_code: str = ""  # by which the collector's people know that it is this gateway who asks to return
    delivered_batches: int = 0
    last_receipt_ms: int | None = None


def by_stick(identity: Identity) -> CollectorStatus:
    """Of a collector that nobody tries to reach: what waits for it is carried there."""
    return CollectorStatus(
        state="ok",
        carrier="stick",
        gateway_id=identity.gateway_id,
        url=identity.collector.url,
        certificate_expires=identity.expires.isoformat(),
    )


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a device answers."""

    id: str
    name: str
    bus: str
    profile: str
    period_s: float
    state: Literal["ok", "lost", "new"]
    reason: str = ""
    lost_since_ms: int | None = None
    answered_ms: int | None = None
    polls: int = 0
    missed_polls: int = 0

    @classmethod
    def of(
        cls, device: DeviceSection, state: DeviceState, real_ms: Callable[[int], int] = lambda ms: ms
    ) -> "DeviceStatus":
        """`real_ms` is `Timekeeper.real_ms`."""
        is_lost = state.lost_since_ms is not None
        return cls(
            id=device.id,
            name=device.name,
            bus=device.bus,
            profile=device.profile,
            period_s=device.period_s,
            state="lost" if is_lost else "ok" if state.answered_ms is not None else "new",
            reason=state.reason.name.lower() if is_lost else "",
            lost_since_ms=None if state.lost_since_ms is None else real_ms(state.lost_since_ms),
            answered_ms=None if state.answered_ms is None else real_ms(state.answered_ms),
            polls=state.polls,
            missed_polls=state.missed_polls,
        )


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole page."""

    running: bool
    version: str
    state_dir: str  # resolved: whose page it is, where several gateways are on one machine
    now_ms: int
    started_ms: int | None
    time_from: Literal[
        "", "system", "collector", "person", "earlier"
    ]  # who has told the time; "": nobody yet
    buffer: BufferStatus | None
    collectors: dict[str, CollectorStatus]  # by name
    devices: list[DeviceStatus]

    @property
    def is_well(self) -> bool:
        """Whether nothing needs anybody."""
        return (
            self.running
            and all(collector.state == "ok" for collector in self.collectors.values())
            and all(device.state != "lost" for device in self.devices)
            and self.buffer is not None
            and self.buffer.conserved
            and not self.buffer.held_in_memory
        )
