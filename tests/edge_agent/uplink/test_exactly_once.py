"""Whatever becomes of questions, answers, stores and processes: every reading is there, once."""

import contextlib
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy import insert

from collector.api.live import LiveHub
from collector.identity.keyring import Keyring
from collector.intake.dispatch import Question, dispatch
from collector.intake.service import Intake
from collector.store import schema
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.carrier import Answer, Request
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.envelope import CollectorPrivateKey
from models.reading import Event, Item, Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock
from tests.support.collector import a_key, add_site, open_store
from tests.support.collector_world import an_app

GATEWAY = "gw-1"
SWEEP = 250  # readings that are appended together
EVENTS_EVERY = 7  # sweeps
MAX_ITEMS = 1000


@dataclass
class Faults:
    """How often what happens, of all deliveries."""

    lost: float = 0.05  # the question
    answer_lost: float = 0.30
    doubled: float = 0.05
    out_of_order: float = 0.05  # an old question comes once more
    busy: float = 0.02


@dataclass
class Wire:
    """An `edge_agent.uplink.carrier.Carrier` to an application in this process, which loses and doubles."""

    app: FastAPI
    faults: Faults
    chance: random.Random
    url: str = "https://collector.test"
    earlier: list[Request] = field(default_factory=list)

    async def exchange(self, request: Request) -> Answer:
        roll = self.chance.random
        if roll() < self.faults.lost:
            raise CollectorUnreachable(self.url, "lost on its way")
        if roll() < self.faults.busy:
            return Answer(503, {"retry-after": "1"}, b"")
        if self.earlier and roll() < self.faults.out_of_order:
            await self._deliver(self.chance.choice(self.earlier))
        answer = await self._deliver(request)
        if roll() < self.faults.doubled:
            answer = await self._deliver(request)
        self.earlier = [*self.earlier[-20:], request]
        if roll() < self.faults.answer_lost:
            raise CollectorUnreachable(self.url, "the answer was lost")
        return answer

    async def close(self) -> None:
        return None

    async def _deliver(self, request: Request) -> Answer:
        asked = Question(GATEWAY, request.method, request.path, request.headers, request.body)
        told = await dispatch(self.app, asked)
        return Answer(told.status, told.headers, told.body)


@dataclass
class Pair:
    """A gateway's store and sender, and a collector; each can be ended and put back from a copy."""

    folder: Path
    clock: VirtualClock
    chance: random.Random
    key: CollectorPrivateKey = field(default_factory=CollectorPrivateKey.generate)
    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sweeps: int = 0
    doors: int = 0

    @contextlib.asynccontextmanager
    async def collector(self) -> AsyncIterator[Wire]:
        """From its start to its end."""
        first = not (self.folder / "collector.db").exists()
        async with open_store(self.folder) as store:
            if first:
                await add_site(store)
                async with store.write() as connection:
                    await connection.execute(
                        insert(schema.gateway).values(
                            id=GATEWAY, site_id=1, name="G", state="active", suite="standard", seal_key=b"",
                            enrolled_ms=START_MS,
                        )
                    )  # fmt: skip
                    public = self.signing_key.public_key().public_bytes_raw()
                    await connection.execute(
                        insert(schema.gateway_key).values({**a_key(GATEWAY, public), "ends_ms": START_MS * 2})
                    )
            async with Intake(
                store, Keyring.of(self.key), self.clock.clock, real_now_ms=self.clock.now_ms
            ) as intake:
                nobody = cast(Any, object())  # enrols or renews here
                app = an_app(
                    store, self.clock.clock, LiveHub(store), intake=intake, enrolment=nobody, next_keys=nobody
                )
                yield Wire(app, Faults(), self.chance)

    @contextlib.asynccontextmanager
    async def buffer(self) -> AsyncIterator[SqliteBuffer]:
        async with await open_buffer(self.folder / "buffer.db", self.clock.clock, window_s=0) as buffer:
            yield buffer

    async def uplink(self, buffer: SqliteBuffer, wire: Wire) -> Uplink:
        """Of a process that has just started: it has no content key yet."""
        return Uplink(
            buffer,
            await buffer.outbox("main"),
            Questions(wire, cast(Any, None), self.clock.now_ms, monotonic_s=self.clock.monotonic_s),
            Sender(gateway_id=GATEWAY, collector_key=self.key.public_bytes(), signing_key=self.signing_key),
            Pace(live_every_s=10, max_items=MAX_ITEMS),
            clock=self.clock.clock,
            rng=self.chance,
        )

    async def produce(self, buffer: SqliteBuffer) -> None:
        """One sweep of all points; now and then a door."""
        at_ms = START_MS - 10**8 + self.sweeps * 1000
        items: list[Item] = [
            Reading(
                device_id=f"m-{n % 25:02}",
                point=f"p{n // 25}",
                value=float(self.sweeps * SWEEP + n),
                measured_ms=at_ms,
                received_ms=at_ms + 5,
            )
            for n in range(SWEEP)
        ]
        self.sweeps += 1
        if self.sweeps % EVENTS_EVERY == 0:
            self.doors += 1
            items.append(
                Event(
                    device_id="door", kind="door.opened", data={"n": self.doors}, measured_ms=at_ms,
                    received_ms=at_ms,
                )
            )  # fmt: skip
        await buffer.append(items)

    def stored(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "collector.db")) as connection:
            return [row[0] for row in connection.execute(sql)]

    def check_all_is_there_once(self) -> None:
        """By the values of the readings, which are all different, and the numbers of the doors."""
        total = self.sweeps * SWEEP
        [(count, distinct, least, greatest)] = self._rows(
            "SELECT count(*), count(DISTINCT value), min(value), max(value) FROM reading"
        )
        assert (count, distinct, least, greatest) == (total, total, 0.0, total - 1.0)
        doors = self.stored("SELECT data ->> 'n' FROM event WHERE kind = 'door.opened'")
        assert sorted(doors) == list(range(1, self.doors + 1))
        assert self.stored("SELECT count(*) FROM reading_revision") == [0]
        assert self.stored("SELECT count(*) FROM quarantine") == [0]

    def _rows(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "collector.db")) as connection:
            return connection.execute(sql).fetchall()

    def copy(self, name: str) -> None:
        """Of a store that nobody has open."""
        shutil.copy(self.folder / name, self.folder / f"{name}.copy")

    def put_back(self, name: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (self.folder / (name + suffix)).unlink(missing_ok=True)
        shutil.copy(self.folder / f"{name}.copy", self.folder / name)


@pytest.fixture
def pair(tmp_path: Path, clock: VirtualClock, lab_seed: int) -> Pair:
    return Pair(tmp_path, clock, random.Random(lab_seed))


async def flush_until_done(pair: Pair, uplink: Uplink, buffer: SqliteBuffer) -> None:
    outbox = await buffer.outbox("main")
    for _ in range(1000):
        if not (await outbox.counts()).pending:
            return
        await uplink.flush()
        await pair.clock.advance(1)
    pytest.fail(f"still not sent: {await outbox.counts()}; {uplink.state}")


@pytest.mark.parametrize(
    "sweeps",
    [pytest.param(160, id="40 000"), pytest.param(4000, id="1 000 000", marks=pytest.mark.soak)],
)
async def test_lost_doubled_and_reordered_deliveries_and_restarts_of_both_lose_and_double_nothing(
    pair: Pair, sweeps: int
) -> None:
    while pair.sweeps < sweeps:
        async with pair.collector() as wire:
            for _ in range(pair.chance.randint(1, 3)):  # lives of the gateway in one of the collector
                async with pair.buffer() as buffer:
                    uplink = await pair.uplink(buffer, wire)
                    for _ in range(pair.chance.randint(1, 12)):
                        if pair.sweeps < sweeps:
                            await pair.produce(buffer)
                        if pair.chance.random() < 0.5:
                            await uplink.flush()
                        await pair.clock.advance(pair.chance.choice([0.1, 1, 11]))
    async with pair.collector() as wire, pair.buffer() as buffer:
        await flush_until_done(pair, await pair.uplink(buffer, wire), buffer)
        counts = await (await buffer.outbox("main")).counts()
        assert (counts.delivered, counts.dropped) == (sweeps * SWEEP + pair.doors, 0)
        assert counts.conserved
    pair.check_all_is_there_once()


async def test_a_collector_that_is_put_back_from_yesterday_gets_what_it_lacks(pair: Pair) -> None:
    async with pair.buffer() as buffer:
        for life in range(3):
            async with pair.collector() as wire:
                uplink = await pair.uplink(buffer, wire)
                for _ in range(12):
                    await pair.produce(buffer)
                    await uplink.flush()
                    await pair.clock.advance(20)
                await flush_until_done(pair, uplink, buffer)
            if life == 0:
                pair.copy("collector.db")
        pair.put_back("collector.db")
        async with pair.collector() as wire:
            uplink = await pair.uplink(buffer, wire)
            await pair.produce(buffer)
            for _ in range(200):
                await uplink.flush()
                await pair.clock.advance(3700)  # asked for in vain or lost, it is tried again after an hour
                if pair.stored("SELECT count(*) FROM reading") == [pair.sweeps * SWEEP]:
                    break
                await pair.produce(buffer)
    pair.check_all_is_there_once()


async def test_a_gateway_whose_store_is_put_back_from_a_copy_doubles_nothing(pair: Pair) -> None:
    for life in range(4):
        async with pair.collector() as wire, pair.buffer() as buffer:
            uplink = await pair.uplink(buffer, wire)
            for _ in range(10):
                await pair.produce(buffer)
                if pair.chance.random() < 0.6:
                    await uplink.flush()
            if life != 1:
                await flush_until_done(pair, uplink, buffer)
        if life == 1:
            pair.copy("buffer.db")  # with things that are not delivered, and some whose receipts were lost
        if life == 2:
            pair.put_back("buffer.db")  # all that came since is delivered
    async with pair.collector() as wire, pair.buffer() as buffer:
        await flush_until_done(pair, await pair.uplink(buffer, wire), buffer)
    pair.check_all_is_there_once()
