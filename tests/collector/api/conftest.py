"""Fixtures for the API: an application over a real database, and a client with each kind of token."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from collector.api.live import LiveHub
from collector.store.engine import Store
from tests.support.collector import StandingClock
from tests.support.collector_world import World, an_app, client_of


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
async def reader(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may read everything."""
    token = await world.token("reader", "read")
    async with client_of(app, token) as client:
        yield client
