"""Server-sent events over a real connection."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from collector.api import live as live_module
from collector.api.live import LiveHub
from collector.store.engine import Store
from tests.support.collector import StandingClock
from tests.support.collector_world import World, an_app, serving

Event = tuple[str, str, Any]  # kind, id, data


async def events(answer: httpx.Response) -> AsyncGenerator[Event, None]:
    """The events of a stream; a comment is one of the kind "comment"."""
    kind, number, data = "", "", ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield "comment", "", line
        elif name == "event":
            kind = value
        elif name == "id":
            number = value
        elif name == "data":
            data = value
        elif not line and kind:
            yield kind, number, json.loads(data)
            kind, number, data = "", "", ""


async def take(source: AsyncIterator[Event], kind: str) -> Event:
    async for event in source:
        if event[0] == kind:
            return event
    raise AssertionError(f"the stream ended before an event {kind!r}")


@pytest.fixture
async def url(app: FastAPI, live: LiveHub) -> AsyncIterator[str]:
    async with serving(app, live) as address:
        yield address


@pytest.fixture
async def headers(world: World) -> dict[str, str]:
    return {"authorization": f"Bearer {await world.token('watcher', 'read')}"}


@pytest.fixture
async def client(headers: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers=headers, timeout=10) as opened:
        yield opened


async def a_point(world: World, code: str = "hq") -> tuple[int, int]:
    site = await world.site(code, code)
    await world.gateway(site, f"gw-{code}", code, last_seen_ms=None)
    return site, await world.point(site, await world.device(site, f"gw-{code}", "m", "m"), "power_w", "W")


async def test_a_stream_begins_with_what_is_and_goes_on_with_what_changes(
    url: str, client: httpx.AsyncClient, world: World, live: LiveHub
) -> None:
    site, point = await a_point(world)
    await world.latest(site, point, 10.0)
    async with client.stream("GET", f"{url}/api/v1/stream") as answer, aclosing(events(answer)) as source:
        assert answer.headers["content-type"].startswith("text/event-stream")
        _, _, first = await take(source, "latest")
        assert (first["site"], first["point"], first["value"], first["quality"]) == (
            "hq",
            point,
            10.0,
            "good",
        )
        await world.latest(site, point, None, quality=2, reason=1, measured_ms=world.now_ms)
        live.wake()
        second = first
        while second["value"] == first["value"]:  # a value may come twice while a stream begins
            _, _, second = await take(source, "latest")
        assert (second["value"], second["quality"], second["reason"]) == (None, "bad", "no-reply")


async def test_what_did_not_change_is_not_sent_again(
    url: str, client: httpx.AsyncClient, world: World, live: LiveHub
) -> None:
    site, point = await a_point(world)
    await world.latest(site, point, 10.0)
    async with client.stream("GET", f"{url}/api/v1/stream") as answer, aclosing(events(answer)) as source:
        # A value may come twice while a stream begins; after the first comment nothing may.
        await take(source, "comment")
        live.wake()
        assert [(await anext(source))[0] for _ in range(3)] == ["comment"] * 3


async def test_an_alert_is_sent_with_the_number_of_its_change(
    url: str, client: httpx.AsyncClient, world: World, live: LiveHub
) -> None:
    site, _ = await a_point(world)
    await world.alert(site, "stuck:point:1", {"title": {"zh": "停走", "en": "stuck"}})
    async with client.stream("GET", f"{url}/api/v1/stream") as answer, aclosing(events(answer)) as source:
        await take(source, "comment")  # the stream began after the first alert, which is not repeated
        await world.alert(site, "silent:gateway:gw-hq", {"title": {"zh": "失联", "en": "silent"}})
        live.wake()
        _, number, data = await take(source, "alert")
    assert number == "2"
    assert (data["alert"], data["state"], data["condition"]) == (2, "firing", "silent:gateway:gw-hq")
    assert data["data"]["title"]["zh"] == "失联"


async def test_after_a_break_no_alert_is_lost_and_none_comes_twice(
    url: str, client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.api.stream._REPLAY_ROWS", 7)  # so that the replay needs several looks
    site, _ = await a_point(world)
    for number in range(40):
        await world.alert(site, f"stuck:point:{number}", {})
    async with (
        client.stream("GET", f"{url}/api/v1/stream", headers={"last-event-id": "5"}) as answer,
        aclosing(events(answer)) as source,
    ):
        replayed = [int((await take(source, "alert"))[1]) for _ in range(35)]
        assert (await anext(source))[0] == "comment"
    assert replayed == list(range(6, 41))


@pytest.mark.parametrize("number", ["x", "-1", "1" * 30, "１"])
async def test_an_invented_last_event_id_is_refused(url: str, client: httpx.AsyncClient, number: str) -> None:
    answer = await client.get(f"{url}/api/v1/stream", headers={b"last-event-id": number.encode()})
    assert (answer.status_code, answer.json()["parameters"][0]["name"]) == (422, "Last-Event-ID")


async def test_streams_end_when_the_collector_stops(
    app: FastAPI, live: LiveHub, client: httpx.AsyncClient, world: World
) -> None:
    await a_point(world)
    async with serving(app, live) as url:
        request = client.build_request("GET", f"{url}/api/v1/stream")
        answer = await client.send(request, stream=True)
        source = events(answer)
        await take(source, "comment")
    # The server is down, and had not to cut the connection: the stream came to its end.
    assert {event[0] async for event in source} <= {"comment"}
    await answer.aclose()


async def test_a_client_that_does_not_read_holds_up_nobody(
    store: Store, standing: StandingClock, live: LiveHub, world: World, headers: dict[str, str]
) -> None:
    site, point = await a_point(world)
    device = await world.device(site, "gw-hq", "big", "big")
    for number in range(300):
        await world.latest(site, await world.point(site, device, f"p{number}_" + "x" * 400, "W"), 1.0)
    app = an_app(store, standing.clock, live, heartbeat_s=0.2)
    async with serving(app, live) as url, httpx.AsyncClient(headers=headers, timeout=10) as client:
        parts = urlsplit(url)
        sleepers = []
        for _ in range(4):
            sleeper = socket.create_connection((parts.hostname, parts.port))
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sleeper.setblocking(False)
            lines = [
                "GET /api/v1/stream HTTP/1.1",
                f"host: {parts.netloc}",
                f"authorization: {headers['authorization']}",
            ]
            await asyncio.get_running_loop().sock_sendall(sleeper, "\r\n".join([*lines, "", ""]).encode())
            sleepers.append(sleeper)
        try:
            async with (
                client.stream("GET", f"{url}/api/v1/stream") as answer,
                aclosing(events(answer)) as source,
            ):
                await take(source, "comment")
                for value in range(50):
                    await world.latest(site, point, float(value), measured_ms=world.now_ms + value)
                    live.wake()
                    assert (await take(source, "latest"))[2]["value"] == value
        finally:
            for sleeper in sleepers:
                sleeper.close()


async def test_more_streams_than_the_collector_can_serve_are_refused(
    url: str, client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "STREAMS_MAX", 1)
    async with client.stream("GET", f"{url}/api/v1/stream") as answer, aclosing(events(answer)) as source:
        await take(source, "comment")
        refused = await client.get(f"{url}/api/v1/stream")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")


async def test_who_comes_after_a_quiet_time_misses_nothing_and_is_not_flooded(
    url: str, client: httpx.AsyncClient, world: World, live: LiveHub
) -> None:
    site, point = await a_point(world)
    old = await world.point(site, 1, "old_w", "W")
    await world.latest(site, old, 1.0, stored_ms=world.now_ms - 10 * 60_000)
    for value in (1.0, 2.0):
        await world.latest(site, point, value, measured_ms=world.now_ms + int(value))
        seen = []
        async with client.stream("GET", f"{url}/api/v1/stream") as answer, aclosing(events(answer)) as source:
            async for kind, _, data in source:
                if kind == "comment":
                    break
                seen.append((data["point"], data["value"]))
        assert set(seen) == {(old, 1.0), (point, value)}
        assert seen.count((old, 1.0)) == 1
