"""What the lists say of gateways, devices, points, readings and consumption."""

import httpx
from fastapi import FastAPI

from collector.store.schema import quarantine
from models.times import HOUR_MS, hour_of, utc_text
from tests.support.collector_world import EPOCH, REAL_NOW_MS, World, client_of

MINUTE_MS = 60_000


async def test_a_reading_says_where_it_came_from(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    epoch = await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    point = await world.point(site, await world.device(site, "gw-1", "m", "m"), "power_w", "W")
    first_ms = world.now_ms - HOUR_MS
    await world.readings(site, point, [(first_ms, 5.25), (first_ms + 1, None), (first_ms + 2, 7.0)])
    await world.envelope(site, epoch, 1, 1, 1)
    await world.envelope(site, epoch, 2, 2, 2)  # the envelope of the third is not there

    answer = await reader.get(
        f"/api/v1/points/hq/{point}/readings", params={"from": str(first_ms), "to": str(world.now_ms)}
    )
    items = answer.json()["items"]
    assert items[0] == {
        "measured_at": utc_text(first_ms),
        "received_at": utc_text(first_ms + 45),
        "value": 5.25,
        "quality": "good",
        "reason": None,
        "provenance": {"gateway_id": "gw-1", "epoch": EPOCH.hex(), "seq": 1, "envelope": 1},
    }
    assert (items[1]["value"], items[1]["quality"], items[1]["reason"]) == (None, "bad", "no-reply")
    assert [item["provenance"]["envelope"] for item in items] == [1, 2, None]


async def test_the_range_is_half_open(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    point = await world.point(site, await world.device(site, "gw-1", "m", "m"), "power_w", "W")
    start_ms = world.now_ms - HOUR_MS
    await world.readings(site, point, [(start_ms, 1.0), (start_ms + MINUTE_MS, 2.0)])
    answer = await reader.get(
        f"/api/v1/points/hq/{point}/readings",
        params={"from": str(start_ms), "to": str(start_ms + MINUTE_MS)},
    )
    assert [item["value"] for item in answer.json()["items"]] == [1.0]


async def test_a_point_that_is_not_there_is_not_an_empty_list(
    reader: httpx.AsyncClient, world: World
) -> None:
    await world.site("hq", "HQ")
    answer = await reader.get(
        "/api/v1/points/hq/7/readings?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
    )
    assert answer.status_code == 404
    assert answer.json()["hint"] == "/api/v1/points?site=hq lists its points."


async def test_a_gateway_is_online_as_long_as_its_slowest_rhythm_allows(
    reader: httpx.AsyncClient, world: World
) -> None:
    site = await world.site("hq", "HQ")
    now_ms = world.now_ms
    await world.gateway(site, "gw-1-fresh", "a", last_seen_ms=now_ms - 2 * MINUTE_MS)
    await world.gateway(site, "gw-2-quiet", "b", last_seen_ms=now_ms - 4 * MINUTE_MS)
    await world.gateway(site, "gw-3-slow", "c", last_seen_ms=now_ms - 40 * MINUTE_MS)
    await world.device(site, "gw-3-slow", "heat", "Heat", period_s=900)
    await world.gateway(site, "gw-4-new", "d", last_seen_ms=None)
    await world.gateway(site, "gw-5-gone", "e", last_seen_ms=now_ms, state="revoked")
    items = (await reader.get("/api/v1/gateways")).json()["items"]
    assert {item["id"]: item["online"] for item in items} == {
        "gw-1-fresh": True,
        "gw-2-quiet": False,
        "gw-3-slow": True,
        "gw-4-new": False,
        "gw-5-gone": False,
    }
    active = (await reader.get("/api/v1/gateways?state=active")).json()["items"]
    assert "gw-5-gone" not in {item["id"] for item in active}


async def test_a_lost_gateway_is_revoked_once_and_keeps_what_it_brought(app: FastAPI, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=world.now_ms)
    await world.device(site, "gw-1", "m", "m")
    async with client_of(app, await world.token("keeper", "gateways:write", "read")) as client:
        first = (await client.post("/api/v1/gateways/gw-1/revoke")).json()
        again = (await client.post("/api/v1/gateways/gw-1/revoke")).json()
        assert (first["state"], first["online"], first["revoked_at"]) == (
            "revoked",
            False,
            utc_text(REAL_NOW_MS),
        )
        assert again == first
        assert len((await client.get("/api/v1/devices")).json()["items"]) == 1


async def test_points_are_found_by_device_and_kind(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    one = await world.device(site, "gw-1", "m1", "m1")
    two = await world.device(site, "gw-1", "m2", "m2")
    await world.point(site, one, "power_w", "W")
    await world.point(site, one, "energy_kwh", "kWh", kind="counter", item_code="01000", modulus=1e6)
    await world.point(site, two, "energy_kwh", "kWh", kind="counter")

    async def names(query: str) -> list[tuple[int, str]]:
        items = (await reader.get(f"/api/v1/points?{query}")).json()["items"]
        return [(item["device"], item["name"]) for item in items]

    assert await names(f"device={one}") == [(one, "power_w"), (one, "energy_kwh")]
    assert await names("kind=counter") == [(one, "energy_kwh"), (two, "energy_kwh")]
    assert await names(f"device={one}&kind=gauge&site=hq") == [(one, "power_w")]


async def test_consumption_keeps_a_gap_a_gap(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    point = await world.point(site, await world.device(site, "gw-1", "m", "m"), "energy_kwh", "kWh")
    start_ms = hour_of(world.now_ms) - 5 * HOUR_MS
    await world.hours(
        site,
        point,
        start_ms,
        [(4.5, 1.0, "measured"), (None, 0.0, "missing"), None, (6.0, 0.25, "estimated")],
    )
    answer = await reader.get(
        "/api/v1/consumption", params={"from": str(start_ms), "to": str(world.now_ms), "point": point}
    )
    items = answer.json()["items"]
    assert [(item["value"], item["coverage"], item["state"]) for item in items] == [
        (4.5, 1.0, "measured"),
        (None, 0.0, "missing"),
        (6.0, 0.25, "estimated"),
    ]
    assert items[2]["hour"] == utc_text(start_ms + 3 * HOUR_MS)
    assert items[0]["unit"] == "kWh"


async def test_what_is_kept_aside_is_shown_as_it_came(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    epoch = await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    item = {"device_id": "m", "point": "power_w", "value": 3.5}
    await world.add(
        quarantine,
        site_id=site,
        epoch_id=epoch,
        seq=9,
        item=item,
        reason="future",
        quarantined_ms=world.now_ms,
    )
    [shown] = (await reader.get("/api/v1/quarantine?site=hq")).json()["items"]
    assert (shown["item"], shown["reason"], shown["seq"], shown["gateway_id"]) == (item, "future", 9, "gw-1")
