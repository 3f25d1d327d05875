"""A county's collector forwards to an area's what is shared, as gateways have sealed it, and nothing else."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.forward.book import Book
from collector.forward.place import Place, upstream_of
from collector.identity.gateways import revoke_gateway
from collector.identity.home import Home
from collector.insight.late import judge_forwarding
from collector.insight.settings import LateUpstream
from collector.store.engine import Store
from edge_agent.identity.enroll import enroll
from models.envelope import GM, STANDARD
from tests.support.collector import Sender
from tests.support.next_keys import asking_next
from tests.support.running import key_pem, real_now_ms
from tests.support.tiers import (
    Gateway,
    Tiers,
    add_sites,
    books,
    gateways_at,
    new_tiers,
    rows,
    senders,
    until,
)

MISSING = "SELECT * FROM sequence_gap WHERE lost = 0"


@pytest.fixture
async def tiers(tmp_path: Path) -> Tiers:
    return await new_tiers(tmp_path)


async def test_what_is_shared_arrives_once_as_its_gateway_sealed_it_and_nothing_else_does(
    tiers: Tiers, tmp_path: Path
) -> None:
    async with tiers.serving_area() as area:
        await tiers.belong(area)
        async with tiers.serving_county() as county:
            known = await gateways_at(county, tmp_path, "hall", "annex", "annex", "library")
            hall, annex, private, _ = known
            for gateway in known:
                await gateway.send()  # before anything is shared
                gateway.sent.clear()
        tiers.settle(share={"sites": ["hall", "annex"], "except": [private.id]})
        async with tiers.serving_county() as county:
            await until(lambda: _shared(tiers.county, 2))
            for gateway in known:
                await gateway.send(4)
            [late] = await gateways_at(county, tmp_path, "hall")  # after its site was shared
            await late.send(3)
            await tiers.until_all_is_there(hall, annex, late)
        there = await books(tiers.area, hall, annex, late, prefix="cx:")
        here = await books(tiers.county, hall, annex, late)
        shared = {sealed.digest.hex().upper() for one in (hall, annex, late) for sealed in one.sent}
        assert there["envelopes"] == [row for row in here["envelopes"] if row[4] in shared]
        assert (len(there["readings"]), len(there["events"])) == (5 * len(shared), len(shared))
        assert set(there["readings"]) <= set(here["readings"])
        assert set(there["events"]) <= set(here["events"])
        assert await senders(tiers.area) == {hall.id, annex.id, late.id}
        assert await rows(tiers.area, "SELECT code FROM site") == [("cx",), ("cx:annex",), ("cx:hall",)]
        assert await rows(tiers.area, MISSING) == []  # what is not shared is not asked for
        alarming = "SELECT code FROM refusal WHERE code NOT IN ('unknown-key', 'unknown-gateway')"
        assert await rows(tiers.area, alarming) == []


async def test_what_came_before_is_forwarded_as_far_back_as_the_settings_say(
    tiers: Tiers, tmp_path: Path
) -> None:
    async with tiers.serving_area() as area:
        await tiers.belong(area)
        async with tiers.serving_county() as county:
            [hall] = await gateways_at(county, tmp_path, "hall")
            await hall.send(3)
        tiers.settle(share={"gateways": [hall.id]}, since=datetime(2020, 1, 1, tzinfo=UTC).isoformat())
        async with tiers.serving_county():
            await tiers.until_all_is_there(hall)
        assert await books(tiers.area, hall, prefix="cx:") == await books(tiers.county, hall)


async def test_what_is_shared_no_more_stays_here_from_then_on(tiers: Tiers, tmp_path: Path) -> None:
    tiers.settle(share={"sites": ["hall"]})
    async with tiers.serving_area() as area:
        await tiers.belong(area)
        async with tiers.serving_county() as county:
            [hall] = await gateways_at(county, tmp_path, "hall")
            await hall.send(2)
            await tiers.until_all_is_there(hall)
        tiers.settle()
        async with tiers.serving_county():
            await hall.send(2)
        private, hall.sent = hall.sent[2:], hall.sent[:2]
        tiers.settle(share={"sites": ["hall"]})
        async with tiers.serving_county():
            await until(lambda: _shared(tiers.county, 1))
            await hall.send(2)
            await tiers.until_all_is_there(hall)
        there = {row[4] for row in (await books(tiers.area, hall))["envelopes"]}
        assert not there & {sealed.digest.hex().upper() for sealed in private}
        assert len(there) == 4
        assert await rows(tiers.area, MISSING) == []


async def test_an_area_that_is_restored_from_a_backup_gets_what_it_lacks(
    tiers: Tiers, tmp_path: Path
) -> None:
    tiers.settle(share={"sites": ["hall", "annex"]})
    async with tiers.serving_area() as area:
        await tiers.belong(area)
    shutil.copy(tiers.area.database, tmp_path / "empty.db")
    async with tiers.serving() as county:
        hall, annex = await gateways_at(county, tmp_path, "hall", "annex")
        await hall.send(4)
        await tiers.until_all_is_there(hall)
    shutil.copy(tiers.area.database, tmp_path / "yesterday.db")
    async with tiers.serving():
        await hall.send(4)
        await annex.send(4)
        await tiers.until_all_is_there(hall, annex)
    for backup in ("yesterday.db", "empty.db"):  # after and before the gateways were announced
        shutil.copy(tmp_path / backup, tiers.area.database)
        async with tiers.serving():
            await hall.send()
            await annex.send()
            await tiers.until_all_is_there(hall, annex)
        there = await books(tiers.area, hall, annex, prefix="cx:")
        assert there == await books(tiers.county, hall, annex)


async def test_the_key_of_the_area_may_be_rotated_while_envelopes_come(tiers: Tiers, tmp_path: Path) -> None:
    tiers.settle(share={"sites": ["hall"]})
    async with tiers.serving_area() as area:
        await tiers.belong(area)
        async with tiers.serving_county() as county:
            [hall] = await gateways_at(county, tmp_path, "hall")
            await hall.send(2)
            await tiers.until_all_is_there(hall)
            key = await asyncio.to_thread(tiers.area.rotate_envelope_key, STANDARD, datetime.now(UTC))
            await hall.send(2)
            await until(lambda: _knows(tiers, key.public_bytes()))
            hall.sender.restart()  # a new content key, which is sealed to the new key of the area
            await hall.send(2)
            await tiers.until_all_is_there(hall)
        assert await books(tiers.area, hall, prefix="cx:") == await books(tiers.county, hall)


async def test_a_revoked_county_brings_nothing_more_and_keeps_what_it_could_not_bring(
    tiers: Tiers, tmp_path: Path
) -> None:
    tiers.settle(share={"sites": ["hall"]})
    async with tiers.serving_area() as area:
        identity = await tiers.belong(area)
        async with tiers.serving_county() as county:
            [hall] = await gateways_at(county, tmp_path, "hall")
            await hall.send(2)
            await tiers.until_all_is_there(hall)
            async with await Store.open(tiers.area.database) as store:
                await revoke_gateway(store, identity.gateway_id, by="test", now_ms=real_now_ms())
            await hall.send(2)
            await until(lambda: _said(tiers, "revoked"))
        assert len((await books(tiers.area, hall))["envelopes"]) == 2
        async with await Store.open(tiers.county.database) as store:
            assert (await Book(store, upstream_of(identity)).standing()).waiting == 2
        await tiers.belong(area, again=True)  # somebody has made another token for the same county
        async with tiers.serving_county():
            await tiers.until_all_is_there(hall)
        assert await books(tiers.area, hall, prefix="cx:") == await books(tiers.county, hall)


async def test_renewed_keys_and_the_suite_gm_reach_the_area_too(tiers: Tiers, tmp_path: Path) -> None:
    await add_sites(tiers.county, "guomi", suite="gm")
    tiers.settle(share={"sites": ["hall", "guomi"]})
    async with tiers.serving_area() as area:
        await tiers.belong(area)
        async with tiers.serving_county() as county:
            token = await county.enrollment_token(site="guomi")
            own = await asyncio.to_thread(enroll, token, state_dir=tmp_path / "state")
            assert own.sm2_key is not None
            key = own.collector.collector_key
            sender = Sender(own.gateway_id, key, suite=GM, sm2_key=own.sm2_key)
            guomi = Gateway(sender, county, own.file)
            [hall] = await gateways_at(county, tmp_path, "hall")
            for gateway in (hall, guomi):
                await gateway.send(2)
            new = Ed25519PrivateKey.generate()
            body = asking_next(hall.sender, new).model_dump_json()
            async with county.client(hall.certificate) as client:
                answer = await client.post("/gateway/v1/certificate", content=body)
            hall.certificate.write_bytes(key_pem(new) + answer.json()["certificate_pem"].encode())
            hall.sender.signing_key = new
            hall.sender.restart()
            await hall.send(2)
            await tiers.until_all_is_there(hall, guomi)
        there = await books(tiers.area, hall, guomi, prefix="cx:")
        assert there == await books(tiers.county, hall, guomi)
        assert await rows(tiers.area, "SELECT code FROM refusal WHERE code <> 'unknown-key'") == []


async def test_an_area_that_gets_nothing_though_something_waits_is_one_alert_until_it_does(
    tiers: Tiers, tmp_path: Path
) -> None:
    tiers.settle(share={"sites": ["hall"]})
    async with tiers.serving_area() as area:
        await tiers.belong(area)
    async with tiers.serving_county() as county:
        [hall] = await gateways_at(county, tmp_path, "hall")
        await hall.send(3)
        await until(lambda: _waiting(tiers.county, 3))
    late_ms = real_now_ms() + 16 * 60_000
    assert await _late_alerts(tiers, real_now_ms()) == []
    for now_ms in (late_ms, late_ms + 300_000):
        assert await _late_alerts(tiers, now_ms) == [("firing",)]
    async with tiers.serving():
        await tiers.until_all_is_there(hall)
        await until(lambda: _waiting(tiers.county, 0))
    assert await _late_alerts(tiers, late_ms + 600_000) == [("resolved",)]


async def _late_alerts(tiers: Tiers, now_ms: int) -> list[tuple[object, ...]]:
    async with await Store.open(tiers.county.database) as store, store.write() as connection:
        await judge_forwarding(connection, LateUpstream(), [], now_ms=now_ms)
    return await rows(tiers.county, "SELECT state FROM alert")


async def _waiting(county: Home, envelopes: int) -> bool:
    return len(await rows(county, "SELECT id FROM forward WHERE sent_ms IS NULL")) == envelopes


async def _shared(county: Home, gateways: int) -> bool:
    return len(await rows(county, "SELECT gateway_id FROM forward_gateway")) == gateways


async def _knows(tiers: Tiers, key: bytes) -> bool:
    return Place(tiers.county).identity().collector.collector_key == key


async def _said(tiers: Tiers, what: str) -> bool:
    return what in str(Place(tiers.county).told().get("problem"))
