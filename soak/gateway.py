"""One gateway without sockets: the agent's own buffer, sink, timekeeper and uplink, and readings to keep.

It is killed by taking the disk from under it, and starts again on what is there then.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

from edge_agent.boots import PREFIX
from edge_agent.buffer.contract import BufferUnavailable, Counts, Outbox
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.identity.folder import MAIN, Identity
from edge_agent.sink import BufferSink
from edge_agent.supervision import supervised
from edge_agent.timekeeper import Timekeeper
from edge_agent.uplink.carrier import Carrier
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.at_rest import AtRest
from models.reading import Reading
from models.times import Clock

READ_EVERY_S = 300.0
SEND_EVERY_S = 300.0
SWEEP = 20  # readings
START_AGAIN_S = 1.0  # as a service manager does with an agent whose disk refuses
DEVICE, POINT = "meter-01", "energy_total_kwh"

_KEY = bytes(range(32))
_PACE = Pace(live_every_s=SEND_EVERY_S, max_items=5000)


class Gateway:
    """`run` is one life. Values are unique: the number of the reading. Times are those of `true`."""

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        carrier: Carrier,
        *,
        true: Clock,
        system: Clock,
        chance: random.Random,
        told: Callable[[str], None],
    ) -> None:
        self._file, self._identity, self._carrier = folder / "buffer.db", identity, carrier
        self._true, self._system, self._chance, self._told = true, system, chance, told
        self.taken: dict[float, int] = {}  # by value: when it was read, in true milliseconds
        self.safe: set[float] = set()  # acknowledged
        self.reads = True  # False: nothing new comes
        self.looks = 0
        self.not_conserved: list[str] = []
        self._held_back: list[float] = []
        self._sink: BufferSink | None = None
        self._life: asyncio.Task[None] | None = None
        self._outbox: Outbox | None = None

    def begin(self) -> None:
        """Start it, or start it again."""
        self._life = asyncio.create_task(self._live(), name="gateway")

    async def end(self, kill: Callable[[], None]) -> None:
        """Kill it: `kill` takes its disk away at the same moment. What it held in memory is gone."""
        self._note_safe()
        held = len(self._held_back)
        kill()
        self._sink = None
        self._held_back.clear()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        self._told(f"the agent is killed, {held} readings were in memory alone")

    async def counts(self) -> Counts:
        """Raise BufferUnavailable."""
        if self._outbox is None:
            raise BufferUnavailable("the agent is away")
        return await self._outbox.counts()

    @property
    def holds(self) -> int:
        """Readings in memory alone."""
        return 0 if self._sink is None else self._sink.held

    async def _live(self) -> None:
        while True:
            try:
                await self._once()
            except BufferUnavailable as err:
                self._told(f"the agent cannot begin: {err.__class__.__name__}")
            await asyncio.sleep(START_AGAIN_S)

    async def _once(self) -> None:
        timekeeper = Timekeeper(self._system, is_synchronised=lambda: False, boot_id="week")
        buffer = await SqliteBuffer.open(
            self._file, clock=timekeeper.clock, at_rest=AtRest(_KEY, purpose="buffer"), max_mb=64
        )
        never = asyncio.Event()
        try:
            sink = BufferSink(buffer, timekeeper.clock)
            await timekeeper.begin(await buffer.marks(PREFIX), lambda marks: sink.put([], marks))
            self._outbox, self._sink = await buffer.outbox(MAIN), sink
            self._told("the agent begins")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sink.keep_trying())
                tasks.create_task(timekeeper.run(sink.put))
                tasks.create_task(self._read(sink, timekeeper.clock))
                tasks.create_task(self._look())
                uplink = self._uplink(buffer, self._outbox, timekeeper)
                tasks.create_task(supervised(uplink.run, never))
        finally:
            self._outbox = None
            with contextlib.suppress(BufferUnavailable):
                await buffer.close()

    def _uplink(self, buffer: SqliteBuffer, outbox: Outbox, timekeeper: Timekeeper) -> Uplink:
        identity, clock = self._identity, timekeeper.clock
        questions = Questions(self._carrier, identity, clock.now_ms, monotonic_s=clock.monotonic_s)
        return Uplink(
            buffer,
            outbox,
            questions,
            Sender.of(identity),
            _PACE,
            clock=clock,
            timekeeper=timekeeper,
            rng=self._chance,
            on_delivered=lambda batch, _: self._told(
                f"batch {batch.number} of {batch.items} items delivered"
            ),
        )

    async def _read(self, sink: BufferSink, clock: Clock) -> None:
        """Sweep on a grid of true time, whatever else there is."""
        now_s = self._true.monotonic_s
        number = int(now_s() / READ_EVERY_S)
        while True:
            number += 1
            await asyncio.sleep(number * READ_EVERY_S - now_s())
            if not self.reads:
                continue
            at_ms, first = clock.now_ms(), len(self.taken)
            values = [float(first + number) for number in range(SWEEP)]
            self.taken |= dict.fromkeys(values, self._true.now_ms())
            self._held_back += values
            await sink.put(
                [
                    Reading(
                        device_id=DEVICE,
                        point=POINT,
                        value=value,
                        measured_ms=at_ms + n,
                        received_ms=at_ms + n,
                    )
                    for n, value in enumerate(values)  # a reading of a point has a time of its own
                ]
            )
            self._note_safe()

    def _note_safe(self) -> None:
        """All that was put is on disk when nothing is held."""
        if self._sink is not None and not self._sink.held:
            self.safe.update(self._held_back)
            self._held_back.clear()

    async def _look(self) -> None:
        """Check the books once an hour."""
        while True:
            await asyncio.sleep(3600)
            with contextlib.suppress(BufferUnavailable):
                counts = await self.counts()
                self.looks += 1
                self._told(f"produced {counts.produced}, delivered {counts.delivered}, held {self.holds}")
                if not counts.conserved:
                    self.not_conserved.append(repr(counts))
