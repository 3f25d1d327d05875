"""Plays a timetable of faults to the stage, lets it recover, and holds the books against each other."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any

from demo.align import Tally
from demo.judge import Api, compare
from demo.processes import Part
from simulators.clocks import clock as make_clock
from simulators.lab.clock import Wrong, set_wrong
from simulators.lab.disk import Trouble, set_trouble
from simulators.lab.plan import Fault, Trace
from simulators.lab.player import Moment, Target, play
from simulators.lab.targets import ClockTarget, DiskTarget, NetworkTarget, ProcessTarget
from soak.agent import CLOCK, DISK
from soak.books import Books
from soak.memory import Memory, now_ms
from soak.stage import Stage

DELIVERED_WITHIN_S = 180.0
_KEEP_EVERY_S = 0.5
_AROUND_MS = 3_600_000  # a reading at a wrong time must be seen as doubled, not overlooked


@dataclass(slots=True)
class Outcome:
    """How it went."""

    seed: int
    seconds: float
    tally: Tally
    books: Books
    faults: Counter[str]
    requests: dict[str, int]
    told_lost: int  # readings that gap records of the agent name
    restarts: int  # by us as by systemd, after the agent had ended by itself on a refusing disk
    never_on_disk_s: float
    delivered: bool
    agent_exit: int
    notes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        tally = self.tally
        return (
            tally.produced > 0
            and tally.missing <= self.told_lost
            and tally.doubled == tally.wrong_value == 0
            and self.books.looks > 0
            and not (self.books.not_conserved or self.notes)
            and self.delivered
            and self.agent_exit == 0
        )

    def as_json(self) -> dict[str, Any]:
        books, last = self.books, self.books.last
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            **asdict(self.tally),
            "told_lost": self.told_lost,
            "never_on_disk_s": round(self.never_on_disk_s, 1),
            "conservation": {
                "looks": books.looks,
                "unanswered": books.unanswered,
                "not_conserved": books.not_conserved,
                "most_held": books.most_held,
                "most_pending": books.most_pending,
                "at_the_end": last.items if last is not None else {},
                "lost_from_memory": last.lost if last is not None else 0,
            },
            "faults": dict(sorted(self.faults.items())),
            "requests": self.requests,
            "restarts": self.restarts,
            "notes": self.notes,
            "good": self.is_good,
        }


class _Agent(ProcessTarget):
    """Its memory is lost with it."""

    def __init__(
        self, part: Part, later: Callable[[Coroutine[Any, Any, None]], object], memory: Memory
    ) -> None:
        super().__init__(part, asyncio.sleep, later)
        self._memory = memory

    async def begin(self, fault: Fault) -> None:
        await super().begin(fault)
        if fault.what == "kill":
            self._memory.agent_ended()


class Play:
    """One run. `now` says what is wrong at the moment, for people who watch."""

    def __init__(self, stage: Stage, trace: Trace) -> None:
        self._stage, self._trace = stage, trace
        self._folder = stage.house.config.parent
        self._memory = Memory()
        self._faults: Counter[str] = Counter()
        self._restarts = 0
        self._notes: list[str] = []
        self.books = Books(f"http://127.0.0.1:{stage.house.health_port}")
        self.now: set[str] = set()

    async def run(self) -> Outcome:
        began_s = time.monotonic()
        stage = self._stage
        async with asyncio.TaskGroup() as tasks:
            agent = _Agent(stage.house.agent, tasks.create_task, self._memory)
            collector = ProcessTarget(stage.collector, asyncio.sleep, tasks.create_task)
            targets: dict[str, Target] = {
                "network": NetworkTarget(stage.network),
                "requests": stage.front,
                "collector": collector,
                "agent": agent,
                "disk": DiskTarget(self._disk_is),
                "clock": ClockTarget(self._clock_is, now_ms),
            }
            keeping = [
                tasks.create_task(self.books.keep()),
                tasks.create_task(self._keep(stage.house.agent, agent)),
                tasks.create_task(self._keep(stage.collector, collector)),
            ]
            await play(self._trace, targets, make_clock(start_ms=0), self._told)
            while agent.is_away or collector.is_away:  # noqa: ASYNC110  # tasks of their own bring them back
                await asyncio.sleep(_KEEP_EVERY_S)
            for task in keeping:
                task.cancel()
        return await self._ended(began_s)

    async def _ended(self, began_s: float) -> Outcome:
        """All faults are over: everything must arrive."""
        stage = self._stage
        await stage.collector_is_ready()
        await stage.house.agent_is_ready()
        if code := await stage.house.agent.stop():
            self._notes.append(f"the agent, told to stop, ended with exit code {code}")
        await stage.house.agent.start()
        await stage.house.agent_is_ready()
        await stage.house.simulated.stop()  # first, with connections open: then all that was shown counts
        delivered = await self.books.until_all_delivered(DELIVERED_WITHIN_S)
        agent_exit = await stage.house.agent.stop()
        async with Api(stage.page, stage.token) as api:
            from_ms, to_ms = stage.start_ms - _AROUND_MS, now_ms() + _AROUND_MS
            windows = self._memory.never_on_disk
            tally = await compare(
                api, [stage.house.ledger], from_ms=from_ms, to_ms=to_ms, never_on_disk=windows
            )
            told_lost = 0
            async for event in api.items("/events", **{"from": from_ms, "to": to_ms}):
                if event["kind"] == "buffer.gap":
                    told_lost += event["data"].get("readings", 0)
        return Outcome(
            seed=self._trace.seed,
            seconds=time.monotonic() - began_s,
            tally=tally,
            books=self.books,
            faults=self._faults,
            requests=asdict(stage.front.done),
            told_lost=told_lost,
            restarts=self._restarts,
            never_on_disk_s=sum(last - first for first, last in windows) / 1000,
            delivered=delivered,
            agent_exit=agent_exit,
            notes=self._notes,
        )

    def _told(self, moment: Moment) -> None:
        if moment.what == "begin":
            self._faults[moment.fault.kind] += 1
            if moment.fault.lasts_ms:
                self.now.add(moment.fault.kind)
        else:
            self.now.discard(moment.fault.kind)

    def _disk_is(self, trouble: Trouble) -> None:
        set_trouble(self._folder / DISK, trouble)
        self._memory.disk_is(trouble)

    def _clock_is(self, wrong: Wrong) -> None:
        set_wrong(self._folder / CLOCK, wrong)

    async def _keep(self, part: Part, target: ProcessTarget) -> None:
        """Start it again whenever it has ended by itself, as systemd does."""
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            if part.has_ended and not target.is_away:
                self._restarts += 1
                if part is self._stage.house.agent:
                    if not self._memory.is_refusing:
                        self._notes.append(
                            f"the agent ended by itself on a disk that works: {part.last_words}"
                        )
                    self._memory.agent_ended()
                else:
                    self._notes.append(f"the {part.name} ended by itself: {part.last_words}")
                await part.start()
