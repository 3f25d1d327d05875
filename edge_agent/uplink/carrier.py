"""What carries a question to a collector and its answer back, whatever the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One question."""

    method: str  # as of HTTP
    path: str  # from /gateway/v1/ on, with its query
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0  # how long the collector may hold the answer back, in real time


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to one question, good or bad."""

    status: int  # as of HTTP
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)
    unjudged: Mapping[str, Any] | None = None
    """The certificate of who answered, when nobody has judged its dates because the time is not known."""


class Carrier(Protocol):
    """One connection to one collector, which is made when it is needed, and again after it broke.

    Who is at the other end is verified before the first byte of a question leaves. Several questions may be
    under way at once; an answer is only ever to its own question.
    """

    url: str
    """What people know the collector by in messages."""

    async def exchange(self, request: Request) -> Answer:
        """The answer to it. Raise CollectorNotTrusted, or CollectorUnreachable, also when none comes in time.

        After an error nobody knows whether the collector has heard the question.
        """

    async def close(self) -> None:
        """Safe to call twice; when it returns, nothing of this carrier is still running."""
