"""Runs the buses of a configuration, and brings them to another one without touching what stays the same."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from drivers.contract import DeviceState, DeviceUnreachable, Sink
from edge_agent.buses import LIVING, Bus, ChangeSteps, LivingBus, Tools, make_buses
from edge_agent.buses.parking import bays_watched, with_bays
from edge_agent.changes import Changes, find_changes
from edge_agent.config import Config
from edge_agent.reporting import ReportingSink
from models.reading import Reading
from models.times import Clock

LAST_POLL_S: Final = 2.0
"""In real time. What is under way on a bus may take so long to end. With the last upload it stays below the
5 s after which a person thinks that an agent hangs."""


class Fleet:
    """`run` once, until `stop`. What it reads goes to `sink`, as the configuration wants it reported."""

    def __init__(
        self,
        config: Config,
        sink: Sink,
        clock: Clock,
        *,
        on_poll: Callable[[str, float, Sequence[Reading]], None] = lambda bus, seconds, readings: None,
        on_missed: Callable[[str, int], None] = lambda bus, count: None,
    ) -> None:
        """Makes all buses, and opens nothing yet."""
        self.config = config
        self._reporting = ReportingSink(sink, config.report_rules)
        tools = Tools(sink=self._reporting, clock=clock, on_poll=on_poll, on_missed=on_missed)
        self._tools = with_bays(config, tools)
        self._buses: dict[str, Bus] = {bus.bus: bus for bus in make_buses(config, self._tools)}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()

    @property
    def buses(self) -> list[Bus]:
        return list(self._buses.values())

    def states(self) -> dict[str, DeviceState]:
        """By device, of all that run."""
        return {state.id: state for bus in self.buses for state in bus.states}

    def changes_to(self, config: Config) -> Changes:
        """What `apply` would touch."""
        return find_changes(self.config, config, living=LIVING)

    async def run(self) -> None:
        """Bring in what the devices say until `stop`; all of that is then stored, and nothing is open."""
        async with asyncio.TaskGroup() as self._group:
            self._begin(self._buses)
            await self._stopping.wait()
            for bus in self.buses:
                bus.stop()  # at first, so that nothing waits for a bus that has ended
            async with self._changing:
                await self._end(self._buses)

    def stop(self) -> None:
        """Let `run` end after what is under way."""
        self._stopping.set()

    async def apply(self, config: Config) -> Changes:
        """Run this configuration from now on. Raises what making a bus does; then nothing was touched.

        While the agent stops, what is not done yet is left out.
        """
        async with self._changing:
            changes = self.changes_to(config)
            steps, begun = self._prepared(changes, config)
            if not self._stopping.is_set():
                await self._make(changes, config, steps, begun)
            return changes

    def _prepared(self, changes: Changes, config: Config) -> tuple[list[ChangeSteps], dict[str, Bus]]:
        """All that can fail, done before anything is touched."""
        sections = {device.id: device for device in config.settings.devices}
        steps = []
        for name, change in changes.changed.items():
            bus = self._buses[name]
            if not isinstance(bus, LivingBus):
                raise NotImplementedError(name)
            steps.append(bus.prepare(config, change.gone, [sections[device] for device in change.put]))
        return steps, {bus.bus: bus for bus in make_buses(config, self._tools, changes.begun)}

    async def _make(
        self, changes: Changes, config: Config, steps: Sequence[ChangeSteps], begun: dict[str, Bus]
    ) -> None:
        """What goes first lets go of its wires and addresses, for what comes may want them."""
        await asyncio.gather(self._end(changes.ended), *(_unless_stopped(step.let_go()) for step in steps))
        for name in changes.ended:
            del self._buses[name]
        self._reporting.use(config.report_rules)
        if self._tools.bays is not None:
            self._tools.bays.watch(bays_watched(config))
        self.config = config
        if self._stopping.is_set():
            return
        self._buses |= begun
        self._begin(begun)
        await asyncio.gather(*(_unless_stopped(step.take()) for step in steps))

    def _begin(self, names: Iterable[str]) -> None:
        if self._group is None:
            raise RuntimeError("the fleet does not run")
        for name in names:
            self._tasks[name] = self._group.create_task(self._buses[name].run(), name=f"bus {name}")

    async def _end(self, names: Iterable[str]) -> None:
        tasks = []
        for name in names:
            self._buses[name].stop()
            if name in self._tasks:
                tasks.append(self._tasks.pop(name))
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LAST_POLL_S)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)


async def _unless_stopped(step: Awaitable[None]) -> None:
    with contextlib.suppress(DeviceUnreachable):  # its bus ends just now, as all do
        await step
