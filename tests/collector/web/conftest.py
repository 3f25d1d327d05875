"""Fixtures for the pages: an application over a town full of data, and people who look at it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from collector.api.live import LiveHub
from collector.store.engine import Store
from tests.support.collector import StandingClock
from tests.support.collector_town import Town, build_town
from tests.support.collector_world import World, an_app, client_of

PAGE = {"accept": "text/html,application/xhtml+xml", "sec-fetch-site": "same-origin"}


@pytest.fixture
def world(store: Store, standing: StandingClock) -> World:
    return World(store, standing.now_ms)


@pytest.fixture
def live(store: Store) -> LiveHub:
    return LiveHub(store, poll_s=0.05)


@pytest.fixture
def app(store: Store, standing: StandingClock, live: LiveHub) -> FastAPI:
    return an_app(store, standing.clock, live, heartbeat_s=0.2)


@pytest.fixture
async def town(world: World) -> Town:
    async with world.at_once():
        return await build_town(world)


@pytest.fixture
async def person(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at a browser who has logged in and may act on alerts."""
    token = await world.token("duty desk", "read", "alerts:write")
    async with client_of(app, headers=PAGE) as client:
        answer = await client.post("/login", data={"token": token})
        assert answer.status_code == 303
        yield client


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at a browser without a session."""
    async with client_of(app, headers=PAGE) as client:
        yield client
