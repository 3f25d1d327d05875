"""A building with the jobs of the collector at work."""

import pytest

from collector.store.engine import Store
from tests.support.building import Building
from tests.support.collector import StandingClock


@pytest.fixture
async def building(store: Store, standing: StandingClock) -> Building:
    return await Building.new(store, standing)
