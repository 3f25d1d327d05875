"""What carries envelopes to the collector, whatever the wire."""

from typing import NamedTuple, Protocol

from models.errors import NeedsAHuman, RetryLater
from models.protocol import Receipt


class CollectorBusy(RetryLater):
    """The collector asks for a pause."""

    def __init__(self, url: str, retry_after_s: float) -> None:
        super().__init__(f"{url}: the collector is busy and asks for {retry_after_s:g} s")
        self.url, self.retry_after_s = url, retry_after_s


class CollectorRefused(NeedsAHuman):
    """The collector has understood and said no. `code` is of `models.protocol.Code`, or "" for none."""

    def __init__(self, url: str, status: int, code: str, detail: str, bad_seq: int | None = None) -> None:
        super().__init__(f"{url}: refused ({code or status}): {detail}")
        self.url, self.status, self.code, self.detail, self.bad_seq = url, status, code, detail, bad_seq


class Told(NamedTuple):
    """What the collector's clock showed, at some time after it was asked."""

    collector_ms: int  # since 1970
    asked_s: float  # of the gateway's monotonic clock


class Carrier(Protocol):
    """One connection to one collector. Any call may be repeated: the collector stores everything once.

    All calls raise CollectorBusy, CollectorRefused, and the errors of `edge_agent.tls`.
    """

    heard: Told | None
    """The time as of the last answer to `send_batch` that named it."""

    async def ask_time(self) -> Told:
        """What the collector's clock shows. While the time is unknown, call this before anything else."""

    async def send_key(self, key_id: bytes, package: bytes) -> None:
        """Return once the collector keeps the package of a content key."""

    async def send_batch(self, body: bytes) -> Receipt:
        """Send an envelope; the receipt has not been compared with it yet."""

    async def close(self) -> None:
        """Safe to call twice."""
