"""Giving commands by the API, and asking what came of them."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from collector.control import record
from models.actions import HIDDEN
from models.command import MAX_COMMAND_BYTES
from models.reading import Event
from tests.support.collector import StandingClock
from tests.support.collector_world import World, client_of

WRITE = {"action": "write", "arguments": {"point": "setpoint_c", "value": 21.5}}
HERE = "/api/v1/devices/hq/1/commands"


@pytest.fixture
async def world(world: World) -> World:
    """A site with a gateway, a meter and a door."""
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "Gateway", last_seen_ms=world.now_ms)
    await world.device(site, "gw-1", "meter-01", "Meter")
    await world.device(site, "gw-1", "door-01", "Door")
    return world


@pytest.fixture
async def desk(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may give commands and read."""
    async with client_of(app, await world.token("front desk", "commands:write", "read")) as client:
        yield client


async def give(
    client: httpx.AsyncClient, body: Any = WRITE, *, key: str | None = "c-1", at: str = HERE
) -> Any:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post(at, json=body, headers=headers)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]
    return answer.status_code, answer.json()["type"].removeprefix("urn:gatehouse:problem:")


async def test_a_command_is_offered_and_on_record_in_the_name_of_the_token(
    desk: httpx.AsyncClient, standing: StandingClock
) -> None:
    answer = await give(desk, WRITE | {"expires_in_s": 30})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["id"], told["device"], told["device_id"], told["gateway_id"]) == (
        "c-1",
        1,
        "meter-01",
        "gw-1",
    )
    assert (told["state"], told["issued_by"], told["origin"]) == ("waiting", "front desk", "collector")
    assert told["arguments"] == {"point": "setpoint_c", "value": 21.5}
    assert [(step["state"], step["by"]) for step in told["history"]] == [("waiting", "front desk")]
    assert (await desk.get("/api/v1/commands/hq/c-1")).json() == told


async def test_the_same_request_again_gives_the_same_command(desk: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(give(desk) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len((await desk.get("/api/v1/commands")).json()["items"]) == 1
    other = await give(desk, {"action": "write", "arguments": {"point": "setpoint_c", "value": 99}})
    assert problem(other) == (409, "key-reused")


async def test_the_key_may_stand_in_the_body_but_not_be_another(desk: httpx.AsyncClient) -> None:
    assert (await give(desk, WRITE | {"id": "c-1"}, key=None)).json()["id"] == "c-1"
    assert (await give(desk, WRITE | {"id": "c-1"})).status_code == 200
    assert problem(await give(desk, WRITE | {"id": "c-2"})) == (422, "invalid-parameter")
    missing = await give(desk, key=None)
    assert problem(missing) == (422, "invalid-parameter")
    assert "Idempotency-Key" in missing.json()["detail"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "write"}, "arguments"),
        ({"action": "write", "arguments": {"point": "a", "value": "x"}}, "arguments.value"),
        ({"action": "write", "arguments": {"point": "a", "value": 1, "more": 1}}, "arguments"),
        ({"action": "open_once", "arguments": {"door": -1}}, "arguments.door"),
        (WRITE | {"expires_in_s": 9.9}, "expires_in_s"),
        (WRITE | {"expires_in_s": 86_401}, "expires_in_s"),
        (WRITE | {"expires_in_s": None}, "expires_in_s"),
        (WRITE | {"gateway_id": "gw-2"}, "gateway_id"),
        ([], "body"),
    ],
)
async def test_a_mistake_is_named_with_its_place_and_nothing_is_kept(
    desk: httpx.AsyncClient, body: Any, named: str
) -> None:
    answer = await give(desk, body)
    assert problem(answer) == (422, "invalid-parameter")
    assert answer.json()["parameters"][0]["name"] == named
    assert (await desk.get("/api/v1/commands")).json()["items"] == []


@pytest.mark.parametrize("key", ["", "a b", "a/b", "x" * 65, "é"])
async def test_a_key_that_cannot_be_one_is_refused(desk: httpx.AsyncClient, key: str) -> None:
    assert (await give(desk, WRITE | {"id": key}, key=None)).status_code == 422


async def test_what_is_no_json_or_too_long_is_refused(desk: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "c-1"}
    assert problem(await desk.post(HERE, content=b"{", headers=headers)) == (400, "malformed")
    assert problem(await desk.post(HERE, content=b"\xff", headers=headers)) == (400, "malformed")
    long = b" " * (MAX_COMMAND_BYTES + 1)
    assert problem(await desk.post(HERE, content=long, headers=headers)) == (413, "too-large")


async def test_a_body_is_not_read_before_the_token_is(app: FastAPI, world: World) -> None:
    parts: list[bytes] = []

    async def a_body() -> AsyncIterator[bytes]:
        parts.append(b" ")
        yield parts[-1]

    async with client_of(app) as stranger:
        assert problem(await stranger.post(HERE, content=a_body())) == (401, "no-token")
    async with client_of(app, await world.token("reader", "read")) as reader:
        assert problem(await reader.post(HERE, content=a_body())) == (403, "missing-scope")
    assert parts == []


async def test_a_device_that_is_not_there_is_not_told_anything(desk: httpx.AsyncClient) -> None:
    assert problem(await give(desk, at="/api/v1/devices/hq/9/commands")) == (404, "not-found")
    assert problem(await give(desk, at="/api/v1/devices/no/1/commands")) == (404, "not-found")
    assert problem(await desk.get("/api/v1/commands/hq/c-1")) == (404, "not-found")


async def test_a_card_number_is_shown_to_nobody(desk: httpx.AsyncClient, world: World, app: FastAPI) -> None:
    now_ms = world.now_ms
    card = {"pass": "v-7", "doors": [1], "from_ms": now_ms, "to_ms": now_ms + 1000, "card": "83726451"}
    at = "/api/v1/devices/hq/2/commands"
    answer = await give(desk, {"action": "put_pass", "arguments": card}, at=at)
    assert answer.json()["arguments"] == card | {"card": HIDDEN}
    assert "83726451" not in answer.text + (await desk.get("/api/v1/commands")).text
    wrong = await give(
        desk, {"action": "put_pass", "arguments": card | {"card": "83 726451"}}, key="c-2", at=at
    )
    assert wrong.status_code == 422
    assert "726451" not in wrong.text


async def test_what_came_of_it_is_told(desk: httpx.AsyncClient, world: World) -> None:
    await give(desk)
    await give(desk, key="c-2")
    for command_id, kind, data in (
        ("c-1", "command.done", {"result": {"value": 21.5}}),
        ("c-2", "command.refused", {"code": "not-allowed", "detail": "no"}),
    ):
        facts = {
            "id": command_id,
            "action": "write",
            "arguments": {},
            "by": "x",
            "origin": "collector",
        } | data
        event = Event(device_id="meter-01", kind=kind, data=facts, measured_ms=1, received_ms=1)
        told = partial(record.settle, site_id=1, gateway_id="gw-1", events=[event], now_ms=world.now_ms)
        await world.store.bulk(told)
    done = (await desk.get("/api/v1/commands/hq/c-1")).json()
    assert (done["state"], done["result"], done["code"]) == ("done", {"value": 21.5}, None)
    assert [step["state"] for step in done["history"]] == ["waiting", "done"]
    refused = (await desk.get("/api/v1/commands/hq/c-2")).json()
    assert (refused["state"], refused["result"], refused["code"], refused["detail"]) == (
        *("refused", None, "not-allowed", "no"),
    )


async def test_the_list_goes_by_pages_and_can_be_narrowed(
    desk: httpx.AsyncClient, standing: StandingClock
) -> None:
    for number in range(7):
        standing.now_ms += 1000
        await give(desk, key=f"c-{number}", at=f"/api/v1/devices/hq/{1 + number % 2}/commands")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 3} | ({} if cursor is None else {"cursor": cursor})
        page = (await desk.get("/api/v1/commands", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"c-{number}" for number in range(6, -1, -1)]
    doors = (await desk.get("/api/v1/commands?device=2")).json()["items"]
    assert [item["id"] for item in doors] == ["c-5", "c-3", "c-1"]
    assert (await desk.get("/api/v1/commands?state=done")).json()["items"] == []
    assert len((await desk.get("/api/v1/commands?state=waiting")).json()["items"]) == 7
