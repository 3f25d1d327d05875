"""A gateway of each suite at a real collector, and keys that change in the middle of traffic."""

import asyncio
import base64
import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from collector.commands.sites import insert_site
from collector.identity.gateways import revoke_gateway
from collector.identity.home import Home
from collector.store.engine import Store
from edge_agent.app import run_agent
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.config import Config, load_config
from edge_agent.identity.certificates import CertificateUnusable
from edge_agent.identity.enroll import EnrolmentRefused, enroll
from edge_agent.identity.folder import (
    SM2_KEY,
    Identity,
    IdentityDamaged,
    adopt_collector_key,
    load_identity,
)
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.key_watch import KeyWatch
from edge_agent.uplink.questions import CollectorRefused, Questions
from edge_agent.uplink.sealer import Sender
from models.envelope import GM, MOST_SECONDS, STANDARD, SUITES, Suite, read_header
from models.protocol import CollectorKeyOffer, collector_key_name
from models.sm3 import sm3
from models.times import Clock
from tests.support.clocks import VirtualClock, fast_clock
from tests.support.items import readings
from tests.support.running import RunningCollector, new_home, running

both = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


@dataclass
class Site:
    """A collector that runs, with a site of each suite."""

    collector: RunningCollector
    state_dir: Path
    clock: VirtualClock

    async def enrol(self, suite: Suite) -> Identity:
        token = await self.collector.enrollment_token(site=suite.name)
        return await asyncio.to_thread(enroll, token, state_dir=self.state_dir, again=True)

    @contextlib.asynccontextmanager
    async def sending(
        self, buffer: SqliteBuffer, identity: Identity, *, max_items: int = 10
    ) -> AsyncIterator[Uplink]:
        """The part of a gateway that sends, as it is put together in `edge_agent.uplink.collector`."""
        carrier = HttpsCarrier(identity)
        questions = Questions(carrier, identity, self.clock.now_ms)
        try:
            yield Uplink(
                buffer,
                await buffer.outbox("main"),
                questions,
                Sender.of(identity),
                Pace(live_every_s=10, max_items=max_items),
                clock=self.clock.clock,
                rng=random.Random(1),
                on_receipt=KeyWatch(identity, questions).look_at,
            )
        finally:
            await carrier.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.collector.home.database)) as connection:
            return connection.execute(sql).fetchall()

    def refused(self) -> list[tuple[object, ...]]:
        return self.rows("SELECT gateway_id, code, detail FROM refusal")


@pytest.fixture
async def site(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Site]:
    home = await new_home(tmp_path / "collector", site="standard")
    home.ensure_envelope_key(GM)
    async with await Store.open(home.database) as store:
        await insert_site(store, "gm", "保密楼", timezone=None, suite=GM)
    async with running(home, clock.clock) as collector:
        yield Site(collector, tmp_path / "state", clock)


@both
async def test_what_a_gateway_seals_by_its_suite_is_stored(
    site: Site, buffer: SqliteBuffer, suite: Suite
) -> None:
    identity = await site.enrol(suite)
    await buffer.append(readings(25))

    async with site.sending(buffer, identity) as uplink:
        await uplink.flush()

    assert uplink.state.problem == ""
    assert identity.suite is suite
    assert site.rows("SELECT count(*) FROM reading") == [(1,)]  # all of one point and time ...
    assert site.rows("SELECT count(*) FROM reading_revision") == [(24,)]  # ... with different values
    stored = site.rows("SELECT body, digest FROM envelope ORDER BY number")
    assert [read_header(bytes_of(body)).suite for body, _ in stored] == [suite.number] * 3
    assert all(suite.digest(bytes_of(body)) == digest for body, digest in stored)
    assert site.refused() == []


def bytes_of(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


async def test_the_chain_and_the_receipts_of_suite_gm_are_in_sm3(site: Site, buffer: SqliteBuffer) -> None:
    identity = await site.enrol(GM)
    await buffer.append(readings(20))
    async with site.sending(buffer, identity) as uplink:
        await uplink.flush()

    first, second = (bytes_of(body) for [body] in site.rows("SELECT body FROM envelope ORDER BY number"))

    assert read_header(second).previous == sm3(first)


async def test_a_gateway_of_suite_gm_is_not_taken_under_the_other(site: Site, buffer: SqliteBuffer) -> None:
    """Neither as it is, nor signed by the key that its certificate is for."""
    identity = await site.enrol(GM)
    downgraded = msgspec.structs.replace(
        identity.collector,
        suite=STANDARD.name,
        collector_key=site.collector.home.keyring().current(STANDARD).public_bytes(),
    )
    weaker = replace(identity, collector=downgraded, sm2_key=None)
    await buffer.append(readings(5))

    async with site.sending(buffer, weaker) as uplink:
        await uplink.flush()

    assert "wrong-suite" in uplink.state.problem
    assert uplink.state.needs_a_human
    assert site.rows("SELECT count(*) FROM envelope") == [(0,)]
    assert (await (await buffer.outbox("main")).counts()).pending == 5
    assert [row[:2] for row in site.refused()] == [(identity.gateway_id, "wrong-suite")]


async def test_the_sm2_key_of_a_gateway_is_born_there_for_its_eyes_only(site: Site) -> None:
    identity = await site.enrol(GM)

    file = identity.folder / SM2_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    [[registered]] = site.rows("SELECT sm2_key FROM gateway")
    assert identity.sm2_key is not None
    assert registered == identity.sm2_key.public_key().to_bytes()
    assert (await site.enrol(STANDARD)).sm2_key is None
    assert not file.exists()


async def test_a_damaged_sm2_key_asks_for_enrolment(site: Site) -> None:
    identity = await site.enrol(GM)
    (identity.folder / SM2_KEY).write_bytes(b"damaged")
    with pytest.raises(IdentityDamaged, match="private SM2 key"):
        load_identity(site.state_dir)


async def test_a_gateway_without_sm2_is_told_so_and_its_token_stays_good(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await site.collector.enrollment_token(site="gm")
    with monkeypatch.context() as without:
        without.setattr("edge_agent.identity.enroll._new_sm2_key", lambda: None)
        with pytest.raises(EnrolmentRefused, match="install OpenSSL 3 with SM2"):
            await asyncio.to_thread(enroll, token, state_dir=site.state_dir)

    assert (await asyncio.to_thread(enroll, token, state_dir=site.state_dir)).suite is GM


@both
async def test_a_rotated_key_of_the_collector_costs_no_batch(
    site: Site, buffer: SqliteBuffer, suite: Suite
) -> None:
    """Batches that were sealed before, while and after: all are stored, none is refused."""
    home = site.collector.home
    old = await site.enrol(suite)
    await buffer.append(readings(30))
    async with site.sending(buffer, old, max_items=5) as uplink:
        await uplink.flush()
        home.rotate_envelope_key(suite, datetime.now(UTC))
        await buffer.append(readings(30, first=30))
        await uplink.flush()  # with a content key that travelled under the old key
        assert uplink.state.problem == ""

    new = load_identity(site.state_dir)
    assert new.collector.collector_key == home.keyring().current(suite).public_bytes()
    assert new.collector.collector_key != old.collector.collector_key
    async with site.sending(buffer, new, max_items=5) as uplink:
        await buffer.append(readings(30, first=60))
        await uplink.flush()
        assert uplink.state.problem == ""

    assert site.rows("SELECT count(*), sum(last_seq - first_seq + 1) FROM envelope") == [(18, 90)]
    assert site.rows("SELECT count(*) FROM content_key") == [(2,)]
    assert site.refused() == []
    assert (await (await buffer.outbox("main")).counts()).pending == 0


async def test_what_was_sealed_long_ago_opens_after_several_rotations_and_a_restart(
    site: Site, buffer: SqliteBuffer
) -> None:
    identity = await site.enrol(STANDARD)
    for _ in range(3):
        site.collector.home.rotate_envelope_key(STANDARD, datetime.now(UTC))
    await buffer.append(readings(5))

    async with site.sending(buffer, identity) as uplink:
        await uplink.flush()

    assert uplink.state.problem == ""
    assert len(Home(site.collector.home.folder).keyring().all()) == 5  # four of standard, one of gm
    assert site.refused() == []


async def test_a_content_key_is_replaced_after_so_many_batches_and_so_long(
    site: Site, buffer: SqliteBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await site.enrol(STANDARD)
    monkeypatch.setattr("models.envelope.packages.MOST_BATCHES", 4)
    async with site.sending(buffer, identity, max_items=1) as uplink:
        await buffer.append(readings(9))
        await uplink.flush()
        await site.clock.advance(MOST_SECONDS)
        await buffer.append(readings(1, first=9))
        await uplink.flush()

    headers = [read_header(bytes_of(body)) for [body] in site.rows("SELECT body FROM envelope")]
    keys = [header.key_id for header in sorted(headers, key=lambda header: header.number)]
    assert [keys.count(key) for key in dict.fromkeys(keys)] == [4, 4, 1, 1]
    assert [header.nonce for header in headers] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 1]
    assert (site.refused(), uplink.state.problem) == ([], "")


async def test_a_key_that_the_ca_does_not_vouch_for_is_not_taken(site: Site) -> None:
    """Who holds the server's key but not the CA's could otherwise read along."""
    identity = await site.enrol(STANDARD)
    other = await site.enrol(GM)
    offer = await offered(site, other)
    home = site.collector.home
    mine = home.keyring().current(STANDARD).public_bytes()
    forged = CollectorKeyOffer(
        suite="standard",
        collector_key=base64.b64encode(mine).decode(),
        collector_key_proof=offer.collector_key_proof,
    )
    before = identity.folder.joinpath("collector.json").read_bytes()

    for wrong in (forged, offer, forged.model_copy(update={"collector_key_proof": "?"})):
        with pytest.raises(CertificateUnusable):
            adopt_collector_key(identity, wrong)

    assert identity.folder.joinpath("collector.json").read_bytes() == before


async def offered(site: Site, identity: Identity) -> CollectorKeyOffer:
    carrier = HttpsCarrier(identity)
    try:
        return await Questions(carrier, identity, site.clock.now_ms).ask_collector_key()
    finally:
        await carrier.close()


async def test_each_gateway_is_offered_the_key_of_its_suite_and_a_revoked_one_none(site: Site) -> None:
    home = site.collector.home
    for suite in SUITES.values():
        offer = await offered(site, await site.enrol(suite))
        key = base64.b64decode(offer.collector_key)
        assert (offer.suite, key) == (suite.name, home.keyring().current(suite).public_bytes())
    identity = load_identity(site.state_dir)
    async with await Store.open(home.database) as store:
        await revoke_gateway(store, identity.gateway_id, by="test", now_ms=1)
    with pytest.raises(CollectorRefused, match="revoked"):
        await offered(site, identity)


def test_the_name_of_a_key_is_short_and_its_own() -> None:
    assert len(collector_key_name(b"1")) == 16
    assert collector_key_name(b"1") != collector_key_name(b"2")


@both
async def test_a_running_agent_takes_the_rotated_key_and_goes_on_with_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suite
) -> None:
    monkeypatch.setattr("edge_agent.uplink.collector.LOOK_FOR_IDENTITY_S", 0.01)
    home = site.collector.home
    await site.enrol(suite)
    home.rotate_envelope_key(suite, datetime.now(UTC))
    wanted = home.keyring().current(suite).public_bytes()
    file = tmp_path / "gateway.yaml"
    file.write_text("health: {port: 0}\n")

    async with running_agent(load_config(file), fast_clock(60)):
        await until(lambda: load_identity(site.state_dir).collector.collector_key == wanted)
    async with running_agent(load_config(file), fast_clock(60)):
        await until(lambda: site.rows("SELECT count(*) FROM content_key") == [(2,)])

    assert site.rows("SELECT count(*) FROM event WHERE kind = 'agent.started'") == [(2,)]
    assert site.refused() == []


@contextlib.asynccontextmanager
async def running_agent(config: Config, clock: Clock) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_agent(config, clock=clock, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    """What another process's files show; they ring no bell."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
