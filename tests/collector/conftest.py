"""Fixtures of all tests of the collector."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collector.store.engine import Store
from tests.support.collector import StandingClock, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A database with all tables and nothing in them."""
    async with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def standing() -> StandingClock:
    """A clock that stands still until the test moves it."""
    return StandingClock()
