"""Acknowledging and resolving by the API."""

import asyncio

from fastapi import FastAPI
from sqlalchemy import select

from collector.store.schema import alert_change
from models.times import utc_text
from tests.support.collector_world import World, client_of


async def changes(world: World) -> list[tuple[str, str]]:
    async with world.store.read() as connection:
        rows = await connection.execute(
            select(alert_change.c.state, alert_change.c.by).order_by(alert_change.c.id)
        )
        return [(row.state, row.by) for row in rows]


async def test_an_alert_is_taken_on_and_closed_in_the_name_of_the_token(app: FastAPI, world: World) -> None:
    await world.alert(await world.site("hq", "HQ"), "stuck:point:1", {})
    token = await world.token("duty desk", "alerts:write")
    async with client_of(app, token) as client:
        taken = (await client.post("/api/v1/alerts/hq/1/acknowledge")).json()
        assert (taken["state"], taken["acknowledged_by"]) == ("acknowledged", "duty desk")
        assert taken["acknowledged_at"] == utc_text(world.now_ms)
        closed = (await client.post("/api/v1/alerts/hq/1/resolve")).json()
        assert (closed["state"], closed["resolved_by"]) == ("resolved", "duty desk")
    assert await changes(world) == [
        ("firing", "collector"),
        ("acknowledged", "duty desk"),
        ("resolved", "duty desk"),
    ]


async def test_a_closed_alert_does_not_change(app: FastAPI, world: World) -> None:
    await world.alert(await world.site("hq", "HQ"), "stuck:point:1", {})
    token = await world.token("duty desk", "alerts:write")
    async with client_of(app, token) as client:
        await client.post("/api/v1/alerts/hq/1/resolve")
        for action in ("acknowledge", "resolve"):
            answer = await client.post(f"/api/v1/alerts/hq/1/{action}")
            assert answer.status_code == 409
            assert answer.json()["type"] == "urn:gatehouse:problem:already-resolved"
            assert "duty desk" in answer.json()["detail"]


async def test_of_many_at_once_one_takes_it_on(app: FastAPI, world: World) -> None:
    await world.alert(await world.site("hq", "HQ"), "stuck:point:1", {})
    tokens = [await world.token(f"desk {n}", "alerts:write") for n in range(8)]

    async def take(token: str) -> str:
        async with client_of(app, token) as client:
            return str((await client.post("/api/v1/alerts/hq/1/acknowledge")).json()["acknowledged_by"])

    named = await asyncio.gather(*(take(token) for token in tokens))
    assert len(set(named)) == 1
    assert len(await changes(world)) == 2


async def test_an_alert_that_is_not_there_is_not_found(app: FastAPI, world: World) -> None:
    await world.site("hq", "HQ")
    token = await world.token("duty desk", "alerts:write")
    async with client_of(app, token) as client:
        answer = await client.post("/api/v1/alerts/hq/5/acknowledge")
    assert (answer.status_code, answer.json()["hint"]) == (404, "/api/v1/alerts?site=hq lists them.")


async def test_alerts_are_found_by_state(app: FastAPI, world: World) -> None:
    site = await world.site("hq", "HQ")
    for state in ("firing", "acknowledged", "resolved"):
        await world.alert(site, f"stuck:{state}", {}, state=state)
    async with client_of(app, await world.token("reader", "read")) as client:

        async def states(query: str) -> set[str]:
            items = (await client.get(f"/api/v1/alerts{query}")).json()["items"]
            return {item["state"] for item in items}

        assert await states("") == {"firing", "acknowledged", "resolved"}
        assert await states("?state=open") == {"firing", "acknowledged"}
        assert await states("?state=resolved") == {"resolved"}
