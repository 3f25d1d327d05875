"""Metrics for Prometheus, and whether the collector lives and works."""

import httpx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from collector.api.live import LiveHub
from collector.store.engine import Store
from collector.store.schema import dirty_hour, outbox, refusal
from models.protocol import Receipt
from tests.support.collector import StandingClock
from tests.support.collector_world import World, an_app, client_of


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(str(value) for value in sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_figures_say_what_came_what_waits_and_who_is_silent(
    app: FastAPI, reader: httpx.AsyncClient, world: World
) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=world.now_ms - 90_500)
    await world.gateway(site, "gw-2", "Gone", last_seen_ms=world.now_ms, state="revoked")
    await world.gateway(site, "gw-3", "New", last_seen_ms=None)
    await world.alert(site, "silent:gateway:gw-1", {}, severity="critical")
    await world.alert(site, "stuck:point:1", {}, state="resolved")
    await world.add(dirty_hour, site_id=site, point_id=1, hour_ms=0, marked_no=1)
    for gateway_id in ("gw-1", "gw-3"):
        await world.add(
            refusal,
            gateway_id=gateway_id,
            code="bad-signature",
            detail="",
            count=2,
            first_ms=1,
            last_ms=2,
            episode_ms=1,
            episode_count=2,
        )
    await world.add(
        outbox,
        idempotency_key="k",
        site_id=site,
        alert_id=1,
        receiver="duty",
        message={},
        state="waiting",
        next_try_ms=0,
        created_ms=0,
    )
    receipt = Receipt(
        epoch="00",
        number=1,
        digest="00",
        stored=500,
        already=False,
        quarantined=[],
        high_water=500,
        missing=[],
    )
    app.state.metrics.count(receipt)
    app.state.metrics.count(receipt.model_copy(update={"already": True}))

    found = await figures(reader)
    assert found["gatehouse_batches_accepted_total",] == 1
    assert found["gatehouse_items_accepted_total",] == 500
    assert found["gatehouse_batches_repeated_total",] == 1
    assert found["gatehouse_requests_refused_total", "bad-signature"] == 4
    assert found["gatehouse_outbox_messages", "waiting"] == 1
    assert found["gatehouse_outbox_messages", "dead"] == 0
    assert found["gatehouse_hours_to_compute",] == 1
    assert found["gatehouse_alerts_open", "critical"] == 1
    assert found["gatehouse_alerts_open", "warning"] == 0
    silent = {key[1:]: value for key, value in found.items() if key[0].endswith("_last_batch_age_seconds")}
    assert silent == {("gw-1", "hq"): 90.5}


async def test_two_collectors_in_one_process_count_apart(
    store: Store, standing: StandingClock, live: LiveHub, app: FastAPI
) -> None:
    other = an_app(store, standing.clock, live)
    assert other.state.metrics.registry is not app.state.metrics.registry


async def test_a_collector_that_works_is_ready(app: FastAPI) -> None:
    async with client_of(app) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_a_collector_with_a_stopped_job_is_alive_but_not_ready(
    store: Store, standing: StandingClock, live: LiveHub
) -> None:
    app = an_app(store, standing.clock, live, jobs=lambda: {"energy": True, "outbox": False})
    async with client_of(app) as client:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "outbox" in answer.json()["detail"]
    assert "energy" not in answer.json()["detail"]


async def test_a_database_that_takes_no_writes_is_noticed(app: FastAPI, store: Store) -> None:
    async with store.write() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    async with client_of(app) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]


async def test_no_answer_may_be_framed_sniffed_or_kept(app: FastAPI) -> None:
    async with client_of(app) as client:
        for path in ("/healthz", "/api/v1/sites", "/login", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
