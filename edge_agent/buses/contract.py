"""What the agent expects of everything that brings readings and events in."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from drivers.contract import DeviceState, Exchange, Sink
from edge_agent.bays import Bays
from edge_agent.config import Config, DeviceSection
from models.reading import Reading
from models.times import Clock


class Bus(Protocol):
    """One configured bus with its devices, polled or listened to."""

    bus: str  # its id

    @property
    def states(self) -> Sequence[DeviceState]:
        """One for each device."""

    async def run(self) -> None:
        """Bring in what the devices say until `stop`; all of that is then stored, and nothing is open."""

    def stop(self) -> None:
        """Let `run` end after what is under way."""

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `drivers.contract.ActingDriver`; waits for its turn on the bus, ahead of reads."""


@runtime_checkable
class AskedBus(Bus, Protocol):
    """A bus whose devices are asked, which can also be done because somebody wants to see it."""

    async def read(self, device_id: str) -> tuple[list[Reading], list[Exchange]]:
        """Ask one device now, with the bytes; nothing of it is stored. Waits for its turn as `act` does.

        Raises CommandRefused for a device that cannot show them, and what else keeps it from being asked.
        """


class ChangeSteps(NamedTuple):
    """How devices of a bus that runs come, change and go. All buses do the first step before the second."""

    let_go: Callable[[], Awaitable[None]]
    """When it returns, nothing more comes from those that go, and what they said is stored."""
    take: Callable[[], Awaitable[None]]


@runtime_checkable
class LivingBus(Bus, Protocol):
    """A bus whose devices may come, change and go while it runs. The others do not notice."""

    def prepare(self, config: Config, gone: Collection[str], put: Sequence[DeviceSection]) -> ChangeSteps:
        """Make all that is needed, and touch nothing yet.

        `put` are new devices, and those that take the place of what has their id. Raises what making a
        bus does.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every bus is handed."""

    sink: Sink
    clock: Clock
    bays: Bays | None = None  # what follows the parking bays, for whoever counts them; it is the sink then
    on_poll: Callable[[str, float, Sequence[Reading]], None] = lambda bus, seconds, readings: None
    on_missed: Callable[[str, int], None] = lambda bus, count: None
