"""What carries envelopes to the collector, whatever the wire."""

from typing import Protocol

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


class Carrier(Protocol):
    """One connection to one collector. Any call may be repeated: the collector stores everything once.

    All calls raise CollectorBusy, CollectorRefused, and the errors of `edge_agent.tls`.
    """

    async def send_key(self, key_id: bytes, package: bytes) -> None:
        """Return once the collector keeps the package of a content key."""

    async def send_batch(self, body: bytes) -> Receipt:
        """Send an envelope; the receipt has not been compared with it yet."""

    async def close(self) -> None:
        """Safe to call twice."""
