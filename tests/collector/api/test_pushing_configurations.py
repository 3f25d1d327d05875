"""Pushing configurations by the API, and asking what came of them and what runs where."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from collector.control import pushes
from models.configuration import ConfigReport, digest_of, told_files
from models.reading import GATEWAY, Event
from tests.support.collector_world import World, client_of

FILES = {"gateway.yaml": "devices: []\n", "more.csv": "id,bus,profile,period_s\n"}
HERE = "/api/v1/gateways/gw-1/configuration"
WISH: dict[str, Any] = {"files": FILES, "why": "new meters"}


@pytest.fixture
async def world(world: World) -> World:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "Gateway", last_seen_ms=world.now_ms)
    return world


@pytest.fixture
async def desk(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, await world.token("platform", "config:write", "read")) as client:
        yield client


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]
    return answer.status_code, answer.json()["type"].removeprefix("urn:gatehouse:problem:")


async def push(client: httpx.AsyncClient, body: Any = WISH, key: str = "p-1") -> httpx.Response:
    return await client.post(HERE, json=body, headers={"idempotency-key": key})


async def test_a_push_is_on_record_in_the_name_of_the_token(desk: httpx.AsyncClient) -> None:
    told = (await push(desk)).json()
    assert (told["id"], told["gateway_id"], told["state"], told["issued_by"], told["why"]) == (
        "p-1",
        "gw-1",
        "waiting",
        "platform",
        "new meters",
    )
    assert told["files"] == ["gateway.yaml", "more.csv"]
    assert [change["state"] for change in told["history"]] == ["waiting"]
    assert (await push(desk)).json() == told
    assert (await desk.get("/api/v1/configurations/hq/p-1")).json() == told
    listed = (await desk.get("/api/v1/configurations?state=waiting&gateway_id=gw-1")).json()["items"]
    assert [each["id"] for each in listed] == ["p-1"]
    assert (await desk.get("/api/v1/configurations?state=applied")).json()["items"] == []


async def test_what_runs_is_told_with_who_made_it_so(desk: httpx.AsyncClient, world: World) -> None:
    assert problem(await desk.get(HERE)) == (404, "not-found")
    files = {name: text.encode() for name, text in FILES.items()}
    for version, by in enumerate(("li", "wang"), 1):
        report = ConfigReport(
            origin="on-site",
            by=by,
            why=f"because {version}",
            version=version,
            digest=digest_of(files),
            content=told_files(files),
        )
        event = Event(
            device_id=GATEWAY,
            kind="config.applied",
            data=msgspec.to_builtins(report),
            measured_ms=world.now_ms + version,
            received_ms=world.now_ms,
        )
        settle = partial(pushes.settle, site_id=1, gateway_id="gw-1", events=[event], now_ms=1)
        await world.store.bulk(settle)
        files = files | {"gateway.yaml": b"devices: []\nbuses: []\n"}
    told = (await desk.get(HERE)).json()
    assert (told["version"], told["by"], told["why"], told["push_id"]) == (2, "wang", "because 2", None)
    assert told["files"]["gateway.yaml"] == "devices: []\nbuses: []\n"
    history = (await desk.get("/api/v1/gateways/gw-1/configurations")).json()["items"]
    assert [(each["version"], each["by"]) for each in history] == [(2, "wang"), (1, "li")]
    assert (await push(desk)).json()["base"] == told["digest"]


async def test_what_cannot_be_pushed_is_a_problem_with_a_hint(desk: httpx.AsyncClient) -> None:
    await push(desk)
    assert problem(await push(desk, WISH | {"why": "another"})) == (409, "key-reused")
    assert problem(await push(desk, {"files": {"../x": ""}}, "p-2")) == (422, "invalid-parameter")
    assert problem(await push(desk, {"files": {"gateway.yaml": "a: [\n"}}, "p-3")) == (
        422,
        "invalid-parameter",
    )
    assert problem(await push(desk, WISH | {"confirm_within_s": 0}, "p-4")) == (422, "invalid-parameter")
    assert problem(await desk.post(HERE, json=WISH)) == (422, "invalid-parameter")
    assert problem(await desk.post(HERE, content=b"{")) == (400, "malformed")
    assert problem(await desk.post(HERE.replace("gw-1", "gw-9"), json=WISH)) == (404, "not-found")
    assert problem(await desk.get("/api/v1/configurations/hq/p-9")) == (404, "not-found")
    large = WISH | {"files": {"more.csv": "x" * 9_000_000}}
    assert problem(await push(desk, large, "p-5")) == (413, "too-large")
