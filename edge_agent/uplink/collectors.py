"""All collectors of a gateway: runs them, and follows when the configuration has others."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from edge_agent.config.collectors import CollectorSettings
from edge_agent.uplink.collector import Collector


class Collectors:
    """`run` once; it returns after the last upload of each, which begins when `ended` is set."""

    def __init__(
        self,
        settings: Sequence[CollectorSettings],
        make: Callable[[CollectorSettings], Collector],
        ended: asyncio.Event,
    ) -> None:
        self._make, self._ended = make, ended
        self._collectors = {each.name: make(each) for each in settings}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def __iter__(self) -> Iterator[Collector]:
        return iter([*self._collectors.values()])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for name in self._collectors:
                self._begin(name)
            await self._ended.wait()

    async def use(self, settings: Sequence[CollectorSettings]) -> None:
        """Belong to these from now on. What is with one whose settings are as before is not touched."""
        wanted = {each.name: each for each in settings}
        gone = [
            self._tasks.pop(name) for name in self._collectors.keys() - wanted.keys() if name in self._tasks
        ]
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        known = {name: one for name, one in self._collectors.items() if name in wanted}
        self._collectors = {name: known.get(name) or self._make(each) for name, each in wanted.items()}
        for name, each in wanted.items():
            if name in known:
                known[name].use(each)
            else:
                self._begin(name)

    def hurry(self) -> None:
        """Send what is there now, for somebody waits for it."""
        for collector in self:
            collector.hurry()

    def _begin(self, name: str) -> None:
        if self._group is not None and not self._ended.is_set():
            task = self._group.create_task(self._collectors[name].run(), name=f"collector {name}")
            self._tasks[name] = task
