"""A sink that keeps what it is given in memory, and says when something is there."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from models.reading import Event, Item

PATIENCE_S = 10.0  # after this a test has failed; no test waits so long


class KeepingSink:
    """See `drivers.contract.Sink`: items and marks change together, and what is put is there on return."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.stored: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        await asyncio.sleep(0)  # a disk takes its time
        self.items += items
        for name, text in (marks or {}).items():
            if text:
                self.stored[name] = text
            else:
                self.stored.pop(name, None)
        self._changed.set()

    async def marks(self, prefix: str) -> dict[str, str]:
        return {name: text for name, text in self.stored.items() if name.startswith(prefix)}

    def of_kind(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until it is so; looked at whenever something was put."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def has(self, count: int, *kinds: str) -> list[Event]:
        """The events of these kinds (all, if none is given), once there are so many."""
        await self.until(lambda: len(self.of_kind(*kinds) if kinds else self.events) >= count)
        return self.of_kind(*kinds) if kinds else self.events
