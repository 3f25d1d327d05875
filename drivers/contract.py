"""What the edge agent expects of every driver, and what a driver may expect of the edge agent.

Devices that are asked have a `Driver` each. Devices that speak by themselves share one `Listener`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from models.errors import NeedsAHuman, RetryLater
from models.reading import Item, Reading, Reason


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


class CommandRefused(NeedsAHuman):
    """The device, or the rules for it, say no to a command; nothing was changed."""

    def __init__(self, device_id: str, action: str, detail: str) -> None:
        super().__init__(f"{device_id}: {action} refused: {detail}")
        self.device_id, self.action, self.detail = device_id, action, detail


@dataclass(slots=True)
class DeviceState:
    """What is known of a device, for people."""

    id: str
    lost_since_ms: int | None = None
    reason: Reason = Reason.NONE  # why it is lost
    answered_ms: int | None = None  # when it was last heard
    polls: int = 0
    missed_polls: int = 0


class Sink(Protocol):
    """Where whoever has readings or events takes them."""

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        """Return once the items survive a loss of power, or, while the disk refuses, are kept in memory.

        `marks` are small notes that are stored in the same transaction: how far a source has been read, or
        the last counter of a radio. An empty text removes a mark. Whoever notes with an item that it was
        taken finds after any crash either both or none.
        """

    async def marks(self, prefix: str) -> dict[str, str]:
        """All marks whose name begins with `prefix`."""


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


@runtime_checkable
class TracedDriver(Driver, Protocol):
    """A driver that can show what went over the wire."""

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        """As `read`, with every exchange of this cycle in order."""


@runtime_checkable
class ActingDriver(Driver, Protocol):
    """A driver whose device can be told to do something."""

    async def act(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Do it once, see that it is done, and return the facts for the record; never while `read` runs.

        Raises CommandRefused when the device or its profile does not allow it, and RetryLater when it is
        not known to have been done.
        """


class Listener(Protocol):
    """The devices of one bus that speak by themselves. One call of `run` at a time; it may be repeated.

    Items arrive in `Sink.put` as soon as they are heard, those of one device in their order, each once:
    what was heard twice, or before, is not handed over again, also not after a restart. History that a
    device repeats after an outage is marked `"history": true` in the data of its events.
    """

    @property
    def states(self) -> Sequence[DeviceState]:
        """One for each configured device, in their order. A silent device is lost, and heard again is not."""

    async def run(self, sink: Sink) -> None:
        """Listen until cancelled; leave nothing running then.

        Loss and return of the bus or of a device are handled here, with pauses, and are told as events or
        BAD readings. What is raised is a bug, or NeedsAHuman.
        """

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As `ActingDriver.act`, for one of the devices, while `run` runs."""
