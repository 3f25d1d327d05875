"""A gateway stays certified by itself, whatever it does; one that slept too long comes back when it may."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from collector.identity.gateways import revoke_gateway
from collector.identity.next_key import APPROVED, REJECTED, decide, open_requests
from collector.store.engine import Store
from edge_agent.identity.folder import load_identity
from edge_agent.identity.keeper import RENEWED_TO
from tests.support.certified_gateway import LIFE_DAYS, Site, at_work, certified_gateway

LIFE_S = LIFE_DAYS * 86_400


async def sending(site: Site) -> None:
    """Readings, one small batch after the other, each delivered before the next."""
    while True:
        await site.append()
        await site.until_all_is_delivered()
        assert site.gateway.failures == {}


async def renewed(site: Site, before_s: float) -> None:
    async with asyncio.timeout(30):
        while site.expires_s == before_s:
            site.news.clear()
            await site.news.wait()  # the next batch: sending goes on meanwhile


@pytest.mark.parametrize("renewals", [15, pytest.param(100, marks=pytest.mark.soak)])
async def test_renewals_interrupt_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, renewals: int
) -> None:
    async with certified_gateway(tmp_path, seed=renewals) as site, at_work(site):
        await site.append()
        await site.until_all_is_delivered()
        caplog.clear()
        steady = asyncio.create_task(sending(site))
        for _ in range(renewals):
            expires_s = site.expires_s
            while site.expires_s == expires_s and site.now_s < expires_s - LIFE_S * (1 - RENEWED_TO):
                await site.clock.advance(20)
            await renewed(site, expires_s)
        steady.cancel()
        await asyncio.gather(steady, return_exceptions=True)
        assert steady.cancelled()
        await site.until_all_is_delivered()
        assert site.gateway.failures == {}
        assert site.gateway.status().state == "ok"
        counts = await site.counts()
        assert (counts.conserved, counts.dropped, counts.quarantined) == (True, 0, 0)
        stored = await site.stored()
    assert (stored["reading"], stored["epoch"]) == (site.appended, 1)
    assert stored["event"] == renewals  # certificate.renewed
    assert changes(site) == ["enrolled", *["renewed"] * renewals]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def changes(site: Site) -> list[str]:
    connection = sqlite3.connect(site.collector.home.database)
    try:
        return [row[0] for row in connection.execute("SELECT change FROM gateway_change ORDER BY id")]
    finally:
        connection.close()


async def code_shown(site: Site) -> str:
    """What the gateway shows once the collector has heard its question."""
    async with asyncio.timeout(30):
        while True:
            await site.clock.advance(5)
            async with await Store.open(site.collector.home.database) as store, store.read() as connection:
                rows = await open_requests(connection, site.clock.now_ms())
            if rows and site.gateway.status().problem.startswith("its certificate has ended; it waits"):
                assert [row.code for row in rows] == [site.gateway.status().return_code]
                return str(rows[0].code)
            await asyncio.sleep(0.01)


async def test_a_gateway_that_slept_past_the_end_comes_back_with_all_that_it_has_when_somebody_approves(
    tmp_path: Path,
) -> None:
    async with certified_gateway(tmp_path) as site:
        async with at_work(site):
            await site.append()
            await site.until_all_is_delivered()
        await site.clock.advance(3 * LIFE_S)
        await site.append(10)  # read before it finds out
        async with at_work(site):
            code = await code_shown(site)
            await site.append(10)
            status = site.gateway.status()
            assert (status.state, status.needs_a_human) == ("failing", True)
            assert f"collector gateways approve {code}" in status.problem
            async with await Store.open(site.collector.home.database) as store:
                await decide(store, code, state=APPROVED, by="li", now_ms=site.clock.now_ms())
            async with asyncio.timeout(30):
                while site.gateway.status().return_code or site.gateway.status().problem:
                    await site.clock.advance(5)
                    await asyncio.sleep(0.01)
            await site.until_all_is_delivered()
            assert site.gateway.status().state == "ok"
        stored = await site.stored()
    assert (stored["reading"], stored["epoch"]) == (site.appended, 1)
    assert load_identity(tmp_path / "state").gateway_id == site.gateway_id
    assert changes(site) == ["enrolled", "asked to return", "approved", "returned"]


async def test_what_a_person_rejects_stays_out_and_keeps_its_readings(tmp_path: Path) -> None:
    async with certified_gateway(tmp_path) as site:
        await site.clock.advance(3 * LIFE_S)
        await site.append()
        async with at_work(site):
            code = await code_shown(site)
            async with await Store.open(site.collector.home.database) as store:
                await decide(store, code, state=REJECTED, by="li", now_ms=site.clock.now_ms())
            async with asyncio.timeout(30):
                while "rejected" not in site.gateway.status().problem:
                    await site.clock.advance(30)
                    await asyncio.sleep(0.01)
        assert (await site.counts()).pending == site.appended + 1  # and certificate.ended


async def test_a_revoked_gateway_does_not_get_as_far_as_to_ask(tmp_path: Path) -> None:
    async with certified_gateway(tmp_path) as site:
        async with await Store.open(site.collector.home.database) as store:
            await revoke_gateway(store, site.gateway_id, by="test", now_ms=site.clock.now_ms())
        await site.clock.advance(3 * LIFE_S)
        async with at_work(site), asyncio.timeout(30):
            while "revoked" not in site.gateway.status().problem:
                await site.clock.advance(5)
                await asyncio.sleep(0.01)
        assert changes(site) == ["enrolled", "revoked"]
