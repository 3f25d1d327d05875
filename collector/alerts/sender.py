"""What the outbox needs of a way to tell people: one call that either delivers or says why not."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from models.errors import RetryLater

TIMEOUT_S: Final = 10.0
"""For each step of a message, such as connecting; a receiver that needs longer is treated as down."""


class NotDelivered(RetryLater):
    """A message did not get through. `down` says that no other message to this receiver would either.

    The text goes into the database and to people, so it holds no address and no secret of the receiver.
    """

    def __init__(self, why: str, *, down: bool) -> None:
        super().__init__(why)
        self.why, self.down = why, down


class Sender(Protocol):
    """Delivers to one receiver."""

    async def send(self, message: Mapping[str, Any], *, key: str, now_ms: int) -> None:
        """Deliver, or raise NotDelivered. A repetition has the same `key`, so that it can be told apart."""

    async def close(self) -> None:
        """Safe to call twice."""


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Always verifies the server; by `ca_file` when there is one."""
    return ssl.create_default_context(cafile=ca_file)
