"""A gateway with certificates of a short life, at a real collector, in a time that a test owns."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from collector.store.engine import Store
from collector.store.schema import envelope, epoch, event, reading
from edge_agent.buffer.contract import Counts
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.config.collectors import CollectorSettings
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.timekeeper import Timekeeper
from edge_agent.uplink.collector import Collector, Shared
from edge_agent.uplink.questions import Questions
from models.reading import Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.running import RunningCollector, new_home, real_now_ms, running

LIFE_DAYS = 0.02  # of a certificate: 29 minutes


@dataclass
class Site:
    """The collector, and the gateway's part for it. Certificates live by `clock` on both sides."""

    folder: Path
    clock: VirtualClock
    collector: RunningCollector
    buffer: SqliteBuffer
    gateway: Collector
    gateway_id: str
    ended: asyncio.Event
    appended: int = 0
    delivered: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def expires_s(self) -> float:
        return datetime.fromisoformat(self.gateway.status().certificate_expires).timestamp()

    @property
    def now_s(self) -> float:
        return self.clock.now_ms() / 1000

    async def append(self, count: int = 3) -> None:
        at_ms = self.clock.now_ms()
        first = self.appended
        self.appended += count
        await self.buffer.append(
            [
                Reading(
                    device_id="m", point="power_w", value=float(n), measured_ms=at_ms + n, received_ms=at_ms
                )
                for n in range(first, first + count)
            ]
        )

    async def until_all_is_delivered(self) -> None:
        """In real time: nothing passes on the clock of the gateway meanwhile."""
        async with asyncio.timeout(60):
            while (await self.counts()).pending:
                self.news.clear()
                self.gateway.hurry()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.news.wait()

    async def counts(self) -> Counts:
        return await (await self.buffer.outbox("main")).counts()

    async def stored(self) -> dict[str, int]:
        async with await Store.open(self.collector.home.database) as store, store.read() as connection:
            return {
                table.name: int(
                    (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                )
                for table in (reading, event, envelope, epoch)
            }


async def _asking(_: Identity, questions: Questions) -> None:
    """A question that waits, as for commands: it is under way while certificates change."""
    while True:
        await questions.ask_commands(got=[], everything=True, wait_s=1.0)


@contextlib.asynccontextmanager
async def certified_gateway(folder: Path, *, seed: int = 1) -> AsyncIterator[Site]:
    clock = VirtualClock(real_now_ms())
    home = await new_home(folder / "collector")
    settings = home.folder / "collector.yaml"
    text = settings.read_text().replace("gateway_days: 365", f"gateway_days: {LIFE_DAYS}")
    settings.write_text(text)
    async with (
        running(home, clock.clock, real_now_ms=clock.now_ms) as collector,
        await open_buffer(folder / "buffer.db", clock.clock, window_s=0) as buffer,
    ):
        token = await collector.enrollment_token()
        identity = await asyncio.to_thread(enroll, token, state_dir=folder / "state")
        timekeeper = Timekeeper(clock.clock)

        async def keep(marks: Mapping[str, str]) -> None:
            await buffer.append([], marks)

        await timekeeper.begin({}, keep)
        ended = asyncio.Event()
        site: Site

        def on_delivered(_batch: object, _seconds: float) -> None:
            site.delivered += 1
            site.news.set()

        gateway = Collector(
            CollectorSettings("main", "https", None, 10.0, 500, None, None, None),
            Shared(folder / "state", buffer, timekeeper, True, random.Random(seed)),
            ended=ended,
            on_delivered=on_delivered,
            services=[_asking],
        )
        site = Site(folder, clock, collector, buffer, gateway, identity.gateway_id, ended)
        yield site


@contextlib.asynccontextmanager
async def at_work(site: Site) -> AsyncIterator[None]:
    """The gateway's part for the collector runs, until the end of the block."""
    task = asyncio.create_task(site.gateway.run(), name="collector main")
    try:
        yield
    finally:
        site.ended.set()
        await task
        site.ended.clear()
