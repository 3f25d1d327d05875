"""The uplink against a real HTTPS server that checks what it gets, and fails in every way it can."""

import asyncio
import contextlib
import dataclasses
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.reading import Item, Reading
from tests.support.buffers import open_buffer
from tests.support.certificates import WRONG_SERVERS
from tests.support.clocks import VirtualClock
from tests.support.https import LOST, Answer, Collector, Scripted, as_it_is, busy, but_lost, problem
from tests.support.items import a_reading, an_event, readings, values


class Station:
    """An enrolled gateway with a buffer and an uplink, and a collector that can go away and come back."""

    def __init__(
        self,
        collector: Collector,
        identity: Identity,
        buffer: SqliteBuffer,
        outbox: SqliteOutbox,
        clock: VirtualClock,
    ) -> None:
        self.collector, self.identity, self.clock = collector, identity, clock
        self.buffer, self.outbox = buffer, outbox
        self.carrier = HttpsCarrier(identity)
        self.uplink = self.make_uplink()

    def make_uplink(
        self,
        *,
        carrier: HttpsCarrier | None = None,
        on_delivered: Callable[[], None] = lambda: None,
        seed: int = 1,
    ) -> Uplink:
        return Uplink(
            self.buffer,
            self.outbox,
            Questions(carrier or self.carrier, self.identity, self.clock.now_ms),
            Sender.of(self.identity),
            Pace(live_every_s=10, max_items=100),
            clock=self.clock.clock,
            rng=random.Random(seed),
            on_delivered=lambda batch, seconds: on_delivered(),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.uplink.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, condition: Callable[[], bool], *, most_s: float = 3600) -> float:
        """Let the running uplink work, and time pass whenever it waits, until something holds."""
        passed_s = 0.0
        while True:
            pause_s = await self.clock.someone_sleeps()
            if condition():
                return passed_s
            passed_s += pause_s
            assert passed_s <= most_s, f"does not happen within {most_s:g} s: {self.uplink.state}"
            await self.clock.advance(pause_s)


@pytest.fixture
async def station(
    tmp_path: Path, buffer: SqliteBuffer, outbox: SqliteOutbox, clock: VirtualClock
) -> AsyncIterator[Station]:
    async with Collector().serve() as collector:
        identity = await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path)
        collector.requests.clear()
        station = Station(collector, identity, buffer, outbox, clock)
        try:
            yield station
        finally:
            await station.carrier.close()


async def test_everything_in_the_buffer_arrives_once_and_in_order(station: Station) -> None:
    await station.buffer.append([*readings(250), an_event()])
    await station.uplink.flush()
    assert station.collector.values() == values(readings(250))
    assert len(station.collector.events()) == 1
    assert station.collector.paths() == ["PUT /gateway/v1/keys", *["POST /gateway/v1/batches"] * 3]
    counts = await station.outbox.counts()
    assert (counts.delivered, counts.pending) == (251, 0)
    assert counts.conserved


async def test_what_is_new_goes_out_within_the_live_interval(station: Station) -> None:
    async with station.running():
        for number in range(3):
            await station.buffer.append([a_reading(float(number))])
            await station.until(lambda n=number: len(station.collector.items) == n + 1, most_s=11)  # type: ignore[misc]


async def test_what_comes_while_a_batch_is_sent_waits_to_share_the_next(station: Station) -> None:
    meanwhile: list[asyncio.Future[object]] = []

    def answer_late(answer: Answer) -> Answer:
        meanwhile.append(asyncio.ensure_future(station.buffer.append(readings(10, first=10))))
        return answer

    await station.buffer.append(readings(10))
    station.collector.script.extend([as_it_is, answer_late])
    async with station.running():
        await station.until(lambda: station.uplink.state.delivered_batches == 1)
        assert len(station.collector.items) == 10
        await meanwhile[0]
        await station.until(lambda: len(station.collector.items) == 20, most_s=11)
    assert station.uplink.state.delivered_batches == 2


async def test_a_full_batch_does_not_wait_for_the_interval(station: Station) -> None:
    arrived = asyncio.Event()
    station.uplink = station.make_uplink(on_delivered=arrived.set)
    async with station.running():
        await station.clock.someone_sleeps()
        await station.buffer.append(readings(100))
        await arrived.wait()
    assert len(station.collector.items) == 100
    assert station.clock.monotonic_s() == 0


async def test_what_somebody_waits_for_does_not_wait_for_the_interval(station: Station) -> None:
    arrived = asyncio.Event()
    station.uplink = station.make_uplink(on_delivered=arrived.set)
    async with station.running():
        for number in range(3):
            await station.clock.someone_sleeps()
            arrived.clear()
            await station.buffer.append([an_event(number)])
            station.uplink.hurry()
            await arrived.wait()
    assert len(station.collector.items) == 3


async def test_a_lost_receipt_brings_the_very_same_bytes_again(station: Station) -> None:
    collector = station.collector
    await station.buffer.append(readings(10))
    collector.script.extend([as_it_is, but_lost, but_lost])
    async with station.running():
        await station.until(lambda: station.uplink.state.delivered_batches == 1)
    bodies = {request.body for request in collector.requests if request.method == "POST"}
    assert len(bodies) == 1
    assert len(collector.requests) == 4
    assert collector.values() == values(readings(10))
    assert (await station.outbox.counts()).delivered == 10


async def test_a_receipt_for_other_content_does_not_count(station: Station) -> None:
    def foreign(answer: Answer) -> Answer:
        return Answer(200, answer.body.replace(b'"digest": "', b'"digest": "00'))

    await station.buffer.append(readings(10))
    station.collector.script.extend([as_it_is, foreign, foreign])
    await station.uplink.flush()
    assert (await station.outbox.counts()).delivered == 0
    assert "other content" in station.uplink.state.problem
    async with station.running():
        await station.until(lambda: station.uplink.state.delivered_batches == 1)
    assert station.uplink.state.failures == {"foreign-receipt": 2}
    assert station.collector.values() == values(readings(10))


async def test_a_busy_collector_gets_the_pause_that_it_asks_for(station: Station) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([busy(120), busy(200)])
    async with station.running():
        await station.until(lambda: len(station.collector.requests) == 1)
        assert await station.until(lambda: len(station.collector.requests) == 2) >= 120
        assert await station.until(lambda: len(station.collector.requests) > 2) >= 200
    assert station.uplink.state.failures == {"busy": 2}


async def test_pauses_grow_and_never_keep_what_is_live_for_half_a_minute(station: Station) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([Answer(500)] * 12)
    pauses = []
    async with station.running():
        for count in range(1, 13):
            pauses.append(
                await station.until(lambda n=count: len(station.collector.requests) >= n)  # type: ignore[misc]
            )
        await station.until(lambda: station.uplink.state.delivered_batches == 1)
    assert max(pauses) <= 21
    assert max(pauses[7:]) > 10
    assert max(pauses[1:3]) <= 5


async def test_a_hundred_gateways_that_begin_together_do_not_ask_together(station: Station) -> None:
    await station.buffer.append(readings(10))
    firsts = []
    for seed in range(100):
        station.uplink = station.make_uplink(seed=seed)
        async with station.running():
            firsts.append(await station.clock.someone_sleeps())
    assert station.collector.requests == []
    in_each_second = Counter(int(first_s) for first_s in firsts)
    assert max(firsts) <= 10
    assert max(in_each_second.values()) <= 20


async def test_a_collector_that_lost_the_key_gets_its_package_again(station: Station) -> None:
    await station.buffer.append(readings(10))
    await station.uplink.flush()
    station.collector.keys.clear()
    await station.buffer.append(readings(10, first=10))
    await station.uplink.flush()
    assert station.collector.values() == values(readings(20))
    assert station.collector.paths()[2:] == [
        "POST /gateway/v1/batches",
        "PUT /gateway/v1/keys",
        "POST /gateway/v1/batches",
    ]


async def test_a_restart_goes_on_with_the_batch_that_was_under_way(station: Station) -> None:
    await station.buffer.append(readings(150))
    station.collector.script.extend([as_it_is, but_lost])
    await station.uplink.flush()
    await station.make_uplink().flush()  # another process: it has no content key yet
    assert station.collector.values() == values(readings(150))
    assert len(station.collector.keys) == 2
    first, second = [r.body for r in station.collector.requests if r.method == "POST"][:2]
    assert first == second


async def test_a_revoked_gateway_stops_and_asks_rarely(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([problem(403, "revoked")] * 3)
    async with station.running():
        await station.until(lambda: len(station.collector.requests) == 1)
        assert station.uplink.state.needs_a_human
        for count in (2, 3):
            waited = await station.until(lambda n=count: len(station.collector.requests) == n)  # type: ignore[misc]
            assert 149 <= waited <= 301
        await station.buffer.append(readings(10, first=10))  # reading and keeping goes on
        await station.until(lambda: station.uplink.state.delivered_batches > 0)
    said = [record for record in caplog.records if "nothing reaches the collector" in record.message]
    assert len(said) == 1
    assert station.collector.values()[:10] == values(readings(10))


@pytest.mark.parametrize("say_bad_seq", [True, False], ids=["named", "to-be-found"])
@pytest.mark.parametrize("wrong", [0.0, 57.0, 99.0])
async def test_one_wrong_item_costs_itself_alone(station: Station, wrong: float, say_bad_seq: bool) -> None:
    station.collector.say_bad_seq = say_bad_seq
    station.collector.refuse_item = lambda item: isinstance(item, Reading) and item.value == wrong
    await station.buffer.append(readings(130))
    await station.uplink.flush()
    assert station.collector.values() == [value for value in values(readings(130)) if value != wrong]
    counts = await station.outbox.counts()
    assert (counts.quarantined, counts.pending) == (1, 0)
    assert counts.conserved
    refused = [request for request in station.collector.requests if request.method == "POST"]
    assert len(refused) <= (4 if say_bad_seq else 10)
    [event] = station.collector.events()
    assert (event.kind, event.data["first_seq"]) == ("buffer.gap", wrong + 1)


@pytest.mark.parametrize("say_bad_seq", [True, False], ids=["named", "to-be-found"])
@pytest.mark.parametrize("wrong", [(2.0, 5.0), (0.0, 1.0), (18.0, 19.0), (3.0, 4.0, 5.0, 6.0)])
async def test_several_wrong_items_in_one_batch_cost_themselves_alone(
    station: Station, wrong: tuple[float, ...], say_bad_seq: bool
) -> None:
    station.collector.say_bad_seq = say_bad_seq
    station.collector.refuse_item = lambda item: isinstance(item, Reading) and item.value in wrong
    await station.buffer.append(readings(20))
    for _ in wrong:  # events tell of what was put aside; each is something to be accepted
        await station.uplink.flush()
    assert {*station.collector.values()} == {*values(readings(20))} - {*wrong}
    assert len(station.collector.values()) == 20 - len(wrong)
    counts = await station.outbox.counts()
    assert (counts.quarantined, counts.pending) == (len(wrong), 0)
    assert counts.conserved


async def test_a_collector_that_refuses_everything_does_not_empty_the_buffer(station: Station) -> None:
    station.collector.refuse_item = lambda item: True
    await station.buffer.append(readings(100))
    for _ in range(20):
        await station.uplink.flush()
    counts = await station.outbox.counts()
    assert counts.quarantined == 1
    assert counts.conserved
    station.collector.refuse_item = lambda item: False
    await station.uplink.flush()
    assert len(station.collector.values()) == 99


async def test_a_batch_that_is_too_large_is_divided(station: Station) -> None:
    await station.buffer.append(readings(64))
    station.collector.script.extend([as_it_is, problem(413, "too-large"), problem(413, "too-large")])
    await station.uplink.flush()
    assert station.collector.values() == values(readings(64))
    assert (await station.outbox.counts()).quarantined == 0


async def test_items_that_cannot_be_sealed_are_put_aside(station: Station) -> None:
    far: list[Item] = [
        Reading(device_id="d", point="p", value=1.0, measured_ms=(1 << 63) - 1, received_ms=-(1 << 63))
    ]
    await station.buffer.append([*readings(20), *far, *readings(20, first=20)])
    await station.uplink.flush()
    assert station.collector.values() == values(readings(40))
    assert (await station.outbox.counts()).quarantined == 1


async def test_a_store_that_was_restored_from_an_old_copy_begins_a_new_epoch(
    station: Station, tmp_path: Path, clock: VirtualClock
) -> None:
    copy = tmp_path / "copy.db"
    await station.buffer.append(readings(10))
    await station.uplink.flush()
    copy.write_bytes((tmp_path / "buffer.db").read_bytes())
    wal = tmp_path / "buffer.db-wal"
    copy.with_name("copy.db-wal").write_bytes(wal.read_bytes())
    await station.buffer.append(readings(10, first=10))
    await station.uplink.flush()
    async with await open_buffer(copy, clock.clock, window_s=0) as station.buffer:
        station.outbox = await station.buffer.outbox("main")
        await station.buffer.append(readings(10, first=100))
        await station.make_uplink().flush()
        assert (await station.outbox.counts()).pending == 0
    assert station.collector.values() == [*values(readings(20)), *values(readings(10, first=100))]
    assert [event.kind for event in station.collector.events()] == ["buffer.epoch-began"]


async def test_a_collector_that_disowns_every_epoch_does_not_make_us_renumber_for_ever(
    station: Station,
) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([as_it_is, *[problem(409, "chain-broken")] * 5])
    epochs = set()
    for _ in range(4):
        await station.uplink.flush()
        epochs.add(station.outbox.epoch)
    assert len(epochs) == 1  # begun in the first round, and never again without a success between
    assert "chain-broken" in station.uplink.state.problem


async def test_a_collector_restored_from_a_backup_gets_what_it_misses(station: Station) -> None:
    for number in range(5):
        await station.buffer.append(readings(20, first=20 * number))
        await station.uplink.flush()
    collector = station.collector
    forgotten = {key: item for key, item in collector.items.items() if 20 < key[1] <= 80}
    for key in forgotten:
        del collector.items[key]
    collector.bodies = {key: body for key, body in collector.bodies.items() if key[1] in (1, 5)}
    collector.missing = [(21, 80)]
    await station.buffer.append(readings(1, first=100))
    await station.uplink.flush()
    assert sorted(v for v in collector.values() if v is not None) == values(readings(101))
    sent = len(collector.requests)
    await station.buffer.append(readings(1, first=101))
    await station.uplink.flush()
    assert len(collector.requests) == sent + 1  # it still says that it misses them; once an hour is enough


async def test_a_batch_that_was_damaged_on_disk_is_sealed_again(station: Station, tmp_path: Path) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([as_it_is, Answer(500)])
    await station.uplink.flush()
    with contextlib.closing(sqlite3.connect(tmp_path / "buffer.db")) as changer:
        changer.execute("UPDATE batch SET body = zeroblob(length(body))")
        changer.commit()
    await station.uplink.flush()
    assert station.collector.values() == values(readings(10))


@pytest.mark.parametrize("reason", WRONG_SERVERS)
async def test_not_one_byte_goes_to_whoever_is_not_our_collector(station: Station, reason: str) -> None:
    impostor = Collector(authority=station.collector.authority)
    await station.buffer.append(readings(10))
    async with impostor.serve(WRONG_SERVERS[reason](station.collector.authority)):
        lured = msgspec.structs.replace(station.identity.collector, url=impostor.url)
        carrier = HttpsCarrier(dataclasses.replace(station.identity, collector=lured))
        try:
            uplink = station.make_uplink(carrier=carrier)
            await uplink.flush()
        finally:
            await carrier.close()
    assert (impostor.requests, impostor.payload_bytes) == ([], 0)
    assert uplink.state.needs_a_human
    assert list(uplink.state.failures) == [reason]
    assert (await station.outbox.counts()).pending == 10


async def test_a_collector_that_is_down_costs_nothing_but_time(station: Station) -> None:
    await station.buffer.append(readings(10))
    station.collector.script.extend([LOST] * 5)
    async with station.running():
        await station.until(lambda: station.uplink.state.delivered_batches == 1)
    assert station.uplink.state.failures == {"unreachable": 5}
    assert station.uplink.state.problem == ""


async def test_receipts_lost_at_random_lose_and_double_nothing(station: Station) -> None:
    rng = random.Random(5)
    moods: list[Scripted] = [LOST, busy(1), Answer(500), but_lost, as_it_is]
    station.collector.script.extend(rng.choices(moods, k=60))
    async with station.running():
        for number in range(20):
            await station.buffer.append(readings(30, first=30 * number))
            await station.clock.advance(rng.choice([0.5, 3, 30]))
        await station.until(lambda: len(station.collector.items) == 600)
        await station.until(lambda: station.uplink.state.problem == "")
    assert sorted(v for v in station.collector.values() if v is not None) == values(readings(600))
    assert (await station.outbox.counts()).conserved
