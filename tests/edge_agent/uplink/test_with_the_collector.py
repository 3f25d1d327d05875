"""The agent's half of the protocol against the real other half."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from collector.identity.gateways import revoke_gateway
from collector.store.engine import Store
from collector.store.schema import envelope, event, reading
from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.identity.enroll import EnrolmentRefused, enroll
from edge_agent.identity.folder import Identity
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.reading import Item, Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock
from tests.support.items import an_event
from tests.support.running import RunningCollector, new_home, real_now_ms, running


@dataclass
class Pair:
    """A collector that runs, and a gateway that it has enrolled."""

    collector: RunningCollector
    identity: Identity
    questions: Questions
    clock: VirtualClock

    async def uplink(self, buffer: SqliteBuffer) -> Uplink:
        return Uplink(
            buffer,
            await buffer.outbox("main"),
            self.questions,
            Sender.of(self.identity),
            Pace(live_every_s=10, max_items=100),
            clock=self.clock.clock,
            rng=random.Random(1),
        )

    async def stored(self) -> dict[str, int]:
        async with await Store.open(self.collector.home.database) as store, store.read() as connection:
            tables = {"readings": reading, "events": event, "envelopes": envelope}
            return {
                name: int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
                for name, table in tables.items()
            }


@pytest.fixture
async def pair(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Pair]:
    home = await new_home(tmp_path / "collector")
    async with running(home, clock.clock) as collector:
        token = await collector.enrollment_token()
        identity = await asyncio.to_thread(enroll, token, state_dir=tmp_path / "state")
        carrier = HttpsCarrier(identity)
        try:
            yield Pair(collector, identity, Questions(carrier, identity, clock.now_ms), clock)
        finally:
            await carrier.close()


def minutes(count: int, *, first: int = 0) -> list[Item]:
    """Readings of one point, a minute apart, the last of them before now."""
    return [
        Reading(
            device_id="m-01",
            point="voltage_v",
            value=float(number),
            measured_ms=START_MS + (number - 10_000) * 60_000,
            received_ms=START_MS + (number - 10_000) * 60_000,
        )
        for number in range(first, first + count)
    ]


async def test_all_that_was_read_is_stored_once(
    pair: Pair, buffer: SqliteBuffer, outbox: SqliteOutbox
) -> None:
    await buffer.append([*minutes(250), an_event()])
    uplink = await pair.uplink(buffer)
    await uplink.flush()
    assert uplink.state.problem == ""
    assert await pair.stored() == {"readings": 250, "events": 1, "envelopes": 3}
    counts = await outbox.counts()
    assert (counts.delivered, counts.pending) == (251, 0)


async def test_a_reading_from_the_future_is_put_aside_by_the_collector_and_counted(
    pair: Pair, buffer: SqliteBuffer, outbox: SqliteOutbox
) -> None:
    await buffer.append(minutes(20, first=9_990))  # four lie more than five minutes ahead of now
    await (await pair.uplink(buffer)).flush()
    counts = await outbox.counts()
    assert (counts.delivered, counts.quarantined) == (16, 4)
    assert counts.conserved
    assert (await pair.stored())["readings"] == 16


async def test_an_old_copy_of_the_buffer_goes_on_under_a_new_epoch(
    pair: Pair, buffer: SqliteBuffer, outbox: SqliteOutbox, tmp_path: Path
) -> None:
    await buffer.append(minutes(10))
    await (await pair.uplink(buffer)).flush()
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"buffer.db{suffix}", tmp_path / f"copy.db{suffix}")
    await buffer.append(minutes(10, first=10))
    await (await pair.uplink(buffer)).flush()
    async with await open_buffer(tmp_path / "copy.db", pair.clock.clock, window_s=0) as copy:
        await copy.append(minutes(10, first=20))
        uplink = await pair.uplink(copy)
        await uplink.flush()
        assert uplink.state.problem == ""
        assert (await (await copy.outbox("main")).counts()).pending == 0
        assert (await copy.outbox("main")).epoch != outbox.epoch
    assert await pair.stored() == {"readings": 30, "events": 1, "envelopes": 3}


async def test_a_number_that_was_refused_here_is_not_asked_for(
    pair: Pair, buffer: SqliteBuffer, outbox: SqliteOutbox
) -> None:
    await buffer.append(minutes(10))
    await outbox.refuse(4, "wrong")
    await (await pair.uplink(buffer)).flush()
    batch = (await outbox.kept(1, 3, limit=1))[0]
    receipt = await pair.questions.send_batch(batch.body)
    assert receipt.already
    assert receipt.missing == []
    assert (await pair.stored())["readings"] == 9


async def test_a_revoked_gateway_keeps_its_readings(
    pair: Pair, buffer: SqliteBuffer, outbox: SqliteOutbox
) -> None:
    async with await Store.open(pair.collector.home.database) as store:
        await revoke_gateway(store, pair.identity.gateway_id, by="test", now_ms=real_now_ms())
    await buffer.append(minutes(10))
    uplink = await pair.uplink(buffer)
    await uplink.flush()
    assert uplink.state.needs_a_human
    assert list(uplink.state.failures) == ["revoked"]
    assert (await outbox.counts()).pending == 10


async def test_a_token_works_once(pair: Pair, tmp_path: Path) -> None:
    token = await pair.collector.enrollment_token(name="second")
    await asyncio.to_thread(enroll, token, state_dir=tmp_path / "second")
    with pytest.raises(EnrolmentRefused, match="has been used"):
        await asyncio.to_thread(enroll, token, state_dir=tmp_path / "third")
