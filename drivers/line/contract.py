"""What asking on a shared wire takes and gives, and how it fails."""

from collections.abc import Callable
from typing import NamedTuple

from models.errors import RetryLater


class ReplyTimeout(RetryLater):
    """The device did not answer in time."""

    def __init__(self, endpoint: str, who: str, waited_s: float) -> None:
        super().__init__(
            f"{endpoint} {who}: no reply within {waited_s:g} s; check its address, speed and wiring"
        )
        self.endpoint, self.who, self.waited_s = endpoint, who, waited_s


class UnusableReply(RetryLater):
    """Something came in, but nothing of it was the answer: foreign, garbled, truncated or an echo."""

    def __init__(self, endpoint: str, who: str, heard: tuple[bytes, ...] = ()) -> None:
        super().__init__(f"{endpoint} {who}: no valid reply; look for a second device {who}, or noise")
        self.endpoint, self.who = endpoint, who
        self.heard = heard  # what came instead, in pieces as `Found` has them


class ConnectionBroke(RetryLater):
    """The wire was lost while a reply was awaited."""

    def __init__(self, endpoint: str, detail: str) -> None:
        super().__init__(f"{endpoint}: {detail}; the next request connects again")
        self.endpoint, self.detail = endpoint, detail


class Reply(NamedTuple):
    """The frame that answers a request, and when that was sent and the frame complete."""

    frame: bytes
    sent_ms: int
    received_ms: int


class Found(NamedTuple):
    """What all bytes that came since a request are, in the order in which they came."""

    answer: bytes | None  # the complete frame that provably answers the request
    strays: tuple[bytes, ...]  # complete frames, and noise, before it
    rest: bytes  # the unfinished beginning of a frame, or what follows the answer
    likely: bytes | None = None
    """An answer inside of what would be one longer frame, if more bytes came. It counts once none do."""


Look = Callable[[bytes], Found]
"""Finds the answer to one request in all bytes that came since it was sent. Pure; called for each piece
that arrives with everything so far, and must expect any bytes whatever: noise, echoes, other devices."""
