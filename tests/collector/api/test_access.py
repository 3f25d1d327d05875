"""Who may do what: every route, with every scope, for one's own site and for another's."""

from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from collector.api.live import LiveHub
from collector.identity.tokens import SCOPES, issue_api_token, revoke_api_token
from collector.store.schema import (
    active_configuration,
    alert,
    alert_change,
    command,
    command_change,
    configuration,
    finding,
    gateway,
    gateway_return,
    quarantine,
)
from collector.store.schema import event as events
from models.configuration import pack_files
from tests.support.collector import StandingClock
from tests.support.collector_world import REAL_NOW_MS, TOKENS_MADE_MS, World, an_app, client_of, serving

OTHERS = "SECRET-OF-OTHERS"
_RANGE: Final = "from=2026-09-01T00:00:00Z&to=2026-10-01T00:00:00Z"


@dataclass(frozen=True)
class Route:
    scope: str
    query: str = ""
    by_site: bool = True  # takes ?site=
    body: dict[str, Any] | None = None


ROUTES: Final = {
    ("get", "/api/v1/sites"): Route("read", by_site=False),
    ("get", "/api/v1/gateways"): Route("read"),
    ("get", "/api/v1/devices"): Route("read"),
    ("get", "/api/v1/points"): Route("read"),
    ("get", "/api/v1/points/{site}/{point_id}/readings"): Route("read", _RANGE, by_site=False),
    ("get", "/api/v1/readings/latest"): Route("read"),
    ("get", "/api/v1/events"): Route("read", _RANGE),
    ("get", "/api/v1/quarantine"): Route("read"),
    ("get", "/api/v1/consumption"): Route("read", _RANGE),
    ("get", "/api/v1/alerts"): Route("read"),
    ("get", "/api/v1/findings"): Route("read"),
    ("get", "/api/v1/stream"): Route("read"),
    ("post", "/api/v1/alerts/{site}/{alert_id}/acknowledge"): Route("alerts:write", by_site=False),
    ("post", "/api/v1/alerts/{site}/{alert_id}/resolve"): Route("alerts:write", by_site=False),
    ("post", "/api/v1/devices/{site}/{device}/commands"): Route(
        "commands:write",
        by_site=False,
        body={"id": "c-2", "action": "write", "arguments": {"point": "a", "value": 1}},
    ),
    ("get", "/api/v1/commands"): Route("read"),
    ("get", "/api/v1/commands/{site}/{command_id}"): Route("read", by_site=False),
    ("get", "/api/v1/gateway-returns"): Route("read"),
    ("post", "/api/v1/gateway-returns/{code}/approve"): Route("gateways:write", by_site=False),
    ("post", "/api/v1/gateway-returns/{code}/reject"): Route("gateways:write", by_site=False),
    ("get", "/api/v1/configurations"): Route("read"),
    ("get", "/api/v1/configurations/{site}/{configuration_id}"): Route("read", by_site=False),
    ("get", "/api/v1/gateways/{gateway_id}/configuration"): Route("read", by_site=False),
    ("get", "/api/v1/gateways/{gateway_id}/configurations"): Route("read", by_site=False),
    ("post", "/api/v1/gateways/{gateway_id}/configuration"): Route(
        "config:write", by_site=False, body={"id": "p-2", "files": {"gateway.yaml": "devices: []"}}
    ),
    ("post", "/api/v1/gateways/{gateway_id}/revoke"): Route("gateways:write", by_site=False),
    ("get", "/metrics"): Route("read", by_site=False),
}
CODES: Final = {"mine": "MINE-MINE-MINE", OTHERS: "OTHE-OTHE-OTHE"}
OPEN: Final = {("get", "/healthz"), ("get", "/readyz")}
STREAM: Final = ("get", "/api/v1/stream")


def address(key: tuple[str, str], site: str = "own", query: str = "") -> str:
    path = key[1].replace("{site}", site).replace("{point_id}", "1").replace("{alert_id}", "1")
    path = path.replace("{device}", "1").replace("{command_id}", "c-1")
    path = path.replace("{configuration_id}", "p-1")
    path = path.replace("{gateway_id}", "gw-mine" if site == "own" else f"gw-{OTHERS}")
    path = path.replace("{code}", CODES["mine" if site == "own" else OTHERS])
    return f"{path}?{ROUTES[key].query}&{query}".rstrip("&?")


async def fill(world: World, code: str, mark: str) -> int:
    """A site with one row in every table; `mark` stands in each."""
    site = await world.site(code, mark)
    epoch = await world.gateway(site, f"gw-{mark}", mark, last_seen_ms=world.now_ms)
    device = await world.device(site, f"gw-{mark}", mark, mark)
    point = await world.point(site, device, mark, "kWh", kind="counter")
    await world.readings(site, point, [(world.now_ms - 1000, 1.0)])
    await world.envelope(site, epoch, 1, 1, 1)
    await world.latest(site, point, 1.0)
    await world.hours(site, point, world.now_ms - 3_600_000, [(1.0, 1.0, "measured")])
    await world.alert(site, f"stuck:{mark}", {"title": {"zh": mark, "en": mark}})
    await world.add(
        finding,
        site_id=site,
        id=1,
        detector="stuck",
        subject=mark,
        start_ms=world.now_ms,
        end_ms=world.now_ms,
        score=1.0,
        data={"mark": mark},
        found_ms=world.now_ms,
    )
    await world.add(
        events,
        site_id=site,
        epoch_id=epoch,
        seq=2,
        gateway_id=f"gw-{mark}",
        device_id=mark,
        kind="door.forced",
        data={"mark": mark},
        measured_ms=world.now_ms - 500,
        received_ms=world.now_ms - 400,
    )
    await world.add(
        configuration,
        site_id=site,
        id="p-1",
        gateway_id=f"gw-{mark}",
        number=1,
        base="",
        packed=pack_files({f"{mark}.yaml": b""}),
        why=mark,
        issued_by=mark,
        issued_ms=world.now_ms,
        expires_ms=world.now_ms + 60_000,
        confirm_s=120.0,
        state="waiting",
        outcome={},
        changed_ms=world.now_ms,
        request_digest=b"",
        signed=b"",
    )
    await world.add(
        active_configuration,
        site_id=site,
        gateway_id=f"gw-{mark}",
        number=1,
        version=1,
        digest=mark,
        origin="on-site",
        by=mark,
        why=mark,
        push_id="",
        active_ms=world.now_ms,
        packed=None,
    )
    await world.add(
        command,
        site_id=site,
        id="c-1",
        number=1,
        origin="collector",
        gateway_id=f"gw-{mark}",
        device_id=mark,
        action="write",
        arguments={"point": mark},
        issued_by=mark,
        issued_ms=world.now_ms,
        expires_ms=world.now_ms + 60_000,
        state="waiting",
        outcome={"detail": mark},
        changed_ms=world.now_ms,
    )
    await world.add(
        command_change,
        site_id=site,
        command_id="c-1",
        number=1,
        state="waiting",
        by=mark,
        at_ms=world.now_ms,
    )
    await world.add(
        gateway_return,
        gateway_id=f"gw-{mark}",
        code=CODES[mark],
        public_key=mark.encode(),
        state="waiting",
        asked_ms=REAL_NOW_MS,
        last_asked_ms=REAL_NOW_MS,
    )
    await world.add(
        quarantine,
        site_id=site,
        epoch_id=epoch,
        seq=3,
        item={"mark": mark},
        reason="future",
        quarantined_ms=world.now_ms,
    )
    return site


@pytest.fixture
async def two_sites(world: World) -> World:
    await fill(world, "own", "mine")
    await fill(world, "theirs", OTHERS)
    return world


def test_every_operation_is_in_the_table(app: FastAPI) -> None:
    described = {
        (method, path) for path, operations in app.openapi()["paths"].items() for method in operations
    }
    assert described == set(ROUTES) | OPEN


async def test_nothing_is_answered_without_a_good_token(app: FastAPI, two_sites: World) -> None:
    store = two_sites.store
    revoked = await two_sites.token("revoked", *SCOPES)
    await revoke_api_token(store, "revoked", now_ms=REAL_NOW_MS - 1)
    expired = await issue_api_token(
        store, name="expired", scopes=SCOPES, sites=None, days=1e-6, now_ms=TOKENS_MADE_MS
    )
    for token in (None, "ght_invented", "", revoked, expired):
        async with client_of(app, token) as client:
            for key in ROUTES:
                answer = await client.request(key[0], address(key), json=ROUTES[key].body)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (
                    key,
                    token,
                )
                # Who has no token learns nothing of parameters either.
                assert (await client.request(key[0], key[1] + "?no=such")).status_code == 401


async def test_each_scope_opens_its_own_routes_and_no_other(app: FastAPI, two_sites: World) -> None:
    every = list(chain.from_iterable(combinations(SCOPES, n) for n in range(1, len(SCOPES) + 1)))
    for scopes in every:
        token = await two_sites.token(f"with {' '.join(scopes)}", *scopes)
        async with client_of(app, token) as client:
            for key, route in ROUTES.items():
                if key == STREAM and route.scope in scopes:
                    continue  # it does not end; see the test below
                answer = await client.request(key[0], address(key), json=ROUTES[key].body)
                if route.scope in scopes:
                    assert answer.status_code in (200, 409), (key, scopes, answer.text)
                else:
                    assert answer.status_code == 403, (key, scopes)
                    assert answer.json()["type"].endswith("missing-scope")
                    assert route.scope in answer.json()["hint"]


async def test_a_token_of_one_site_sees_nothing_of_another(app: FastAPI, two_sites: World) -> None:
    token = await two_sites.token("own site", *SCOPES, sites=["own"])
    async with client_of(app, token) as client:
        for key, route in ROUTES.items():
            if key == STREAM:
                continue
            answer = await client.request(key[0], address(key), json=ROUTES[key].body)
            assert OTHERS not in answer.text, key
            if key == ("get", "/metrics"):
                assert answer.status_code == 403  # its figures are of all sites
                continue
            assert answer.status_code == 200, (key, answer.text)
            assert "mine" in answer.text or "own" in answer.text or answer.json()["items"], key
            if "{" in key[1]:
                assert (
                    await client.request(key[0], address(key, "theirs"), json=route.body)
                ).status_code == 404, key
            if route.by_site:
                other = await client.request(key[0], address(key, query="site=theirs"))
                unknown = await client.request(key[0], address(key, query="site=nowhere"))
                assert (other.status_code, unknown.status_code) == (404, 404), key
                assert other.text.replace("theirs", "") == unknown.text.replace("nowhere", ""), key


async def test_a_token_of_one_site_changes_nothing_of_another(app: FastAPI, two_sites: World) -> None:
    token = await two_sites.token("own site", *SCOPES, sites=["own"])
    async with client_of(app, token) as client:
        for action in ("acknowledge", "resolve"):
            assert (await client.post(f"/api/v1/alerts/theirs/1/{action}")).status_code == 404
        assert (await client.post(f"/api/v1/gateways/gw-{OTHERS}/revoke")).status_code == 404
        for action in ("approve", "reject"):
            answer = await client.post(f"/api/v1/gateway-returns/{CODES[OTHERS]}/{action}")
            assert answer.status_code == 404
        wanted = ROUTES["post", "/api/v1/gateways/{gateway_id}/configuration"].body
        answer = await client.post(f"/api/v1/gateways/gw-{OTHERS}/configuration", json=wanted)
        assert answer.status_code == 404
        given = ROUTES["post", "/api/v1/devices/{site}/{device}/commands"].body
        assert (await client.post("/api/v1/devices/theirs/1/commands", json=given)).status_code == 404
    async with two_sites.store.read() as connection:
        states = (await connection.execute(select(alert.c.site_id, alert.c.state))).all()
        changes = (await connection.execute(select(alert_change.c.by))).scalars().all()
        commands = (await connection.execute(select(command.c.id))).scalars().all()
        pushed = (await connection.execute(select(configuration.c.id))).scalars().all()
        revoked = (await connection.execute(select(gateway.c.id).where(gateway.c.state == "revoked"))).all()
        asking = (await connection.execute(select(gateway_return.c.state))).scalars().all()
    assert {state for _, state in states} == {"firing"}
    assert revoked == []
    assert set(asking) == {"waiting"}
    assert set(changes) == {"collector"}
    assert set(commands) == {"c-1"}
    assert set(pushed) == {"p-1"}


async def test_a_reader_changes_nothing(app: FastAPI, two_sites: World) -> None:
    token = await two_sites.token("reader", "read", "gateways:write")
    async with client_of(app, token) as client:
        for action in ("acknowledge", "resolve"):
            assert (await client.post(f"/api/v1/alerts/own/1/{action}")).status_code == 403
        given = ROUTES["post", "/api/v1/devices/{site}/{device}/commands"].body
        assert (await client.post("/api/v1/devices/own/1/commands", json=given)).status_code == 403
    async with two_sites.store.read() as connection:
        assert set((await connection.execute(select(alert.c.state))).scalars()) == {"firing"}


async def test_a_cursor_of_another_token_opens_nothing(app: FastAPI, two_sites: World) -> None:
    everything = await two_sites.token("all", "read")
    restricted = await two_sites.token("own", "read", sites=["own"])
    async with client_of(app, everything) as client:
        cursor = (await client.get("/api/v1/devices?limit=1")).json()["next_cursor"]
    async with client_of(app, restricted) as client:
        page = (await client.get("/api/v1/devices", params={"limit": 1, "cursor": cursor})).json()
    assert page == {"items": [], "next_cursor": None}


async def test_a_stream_of_one_site_carries_nothing_of_another(
    standing: StandingClock, live: LiveHub, two_sites: World
) -> None:
    token = await two_sites.token("own site", "read", sites=["own"])
    app = an_app(two_sites.store, standing.clock, live, heartbeat_s=0.05)
    headers = {"authorization": f"Bearer {token}", "last-event-id": "0"}
    seen = ""
    async with serving(app, live) as url, httpx.AsyncClient(headers=headers) as client:
        assert (await client.get(f"{url}/api/v1/stream?site=theirs")).status_code == 404
        async with client.stream("GET", f"{url}/api/v1/stream") as answer:
            async for line in answer.aiter_lines():
                seen += line
                if line.startswith(": still here"):
                    if seen.count("still here") == 1:
                        await two_sites.latest(2, 1, 99.0)
                        await two_sites.alert(2, f"silent:{OTHERS}", {"title": OTHERS})
                    if seen.count("still here") == 5:
                        break
    assert "event: latest" in seen
    assert "event: alert" in seen
    assert OTHERS not in seen


async def test_a_revoked_token_ends_its_stream(
    standing: StandingClock, live: LiveHub, two_sites: World
) -> None:
    token = await two_sites.token("to be revoked", "read")
    app = an_app(two_sites.store, standing.clock, live, heartbeat_s=0.05)
    headers = {"authorization": f"Bearer {token}"}
    async with (
        serving(app, live) as url,
        httpx.AsyncClient(headers=headers) as client,
        client.stream("GET", f"{url}/api/v1/stream") as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 3000"
        await revoke_api_token(two_sites.store, "to be revoked", now_ms=REAL_NOW_MS - 1)
        rest = [line async for line in lines]  # ends, or the test would not
    assert rest
