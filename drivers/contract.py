"""What the edge agent expects of every driver."""

from dataclasses import dataclass
from typing import Protocol

from models.errors import NeedsAHuman, RetryLater
from models.reading import Reading


class DeviceUnreachable(RetryLater):
    """The bus or connection that leads to a device is down. Another attempt may succeed."""

    def __init__(self, endpoint: str, detail: str) -> None:
        super().__init__(f"{endpoint}: {detail}; check its power, its cable and its address")
        self.endpoint, self.detail = endpoint, detail


class ProfileMismatch(NeedsAHuman):
    """The configuration of a device asks its profile for something that the profile does not have."""

    def __init__(self, device_id: str, profile: str, detail: str) -> None:
        super().__init__(f"{device_id}: {detail}; correct the device or its profile {profile}")
        self.device_id, self.profile, self.detail = device_id, profile, detail


class Driver(Protocol):
    """One device. `open` first, `read` any number of times and one at a time, `close` last.

    A driver starts no task of its own: nothing happens while none of its methods runs. Cancelling a method
    is safe at any moment; the next call finds the driver usable.
    """

    async def open(self) -> None:
        """Make the device reachable, without asking it for anything.

        Raises DeviceUnreachable. `read` may be called all the same: it tries again by itself.
        """

    async def read(self) -> list[Reading]:
        """Ask the device for all points of its profile.

        Returns one reading for each point, in the order of the profile, always. What could not be read is
        BAD, has no value, and says why; no error of bus or device is raised. A value is never taken from
        an earlier cycle, nor from an answer that was not provably given to this cycle's question.

        `measured_ms` is the middle of the request that carried the point, `received_ms` the moment when
        its reply was complete; for a reading without reply both are the moment when that was known.
        """

    async def close(self) -> None:
        """Let go of the device. Safe to call twice, and without `open`; `open` may follow."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and what came back, byte for byte, for people who look for a fault."""

    request: bytes
    replies: tuple[bytes, ...]  # all that arrived meanwhile, whether or not it was an answer
    problem: str  # "" when the last of `replies` was the answer
    sent_ms: int
    received_ms: int


class TracedDriver(Driver, Protocol):
    """A driver that can show what went over the wire."""

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        """As `read`, with every exchange of this cycle in order."""
