"""A collector for tests: its database in a temporary folder, and a clock that stands still."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from collector.store import schema
from collector.store.engine import Store
from collector.store.upgrade import upgrade
from models.times import Clock

NOW_MS = 1_790_000_000_000  # 2026-09-21T13:33:20Z


@dataclass
class StandingClock:
    """A clock that moves when it is told to."""

    now_ms: int = NOW_MS

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_ms, lambda: self.now_ms / 1000, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[Store]:
    """A store with all tables and nothing in them."""
    path = folder / "collector.db"
    await asyncio.to_thread(upgrade, path)
    async with await Store.open(path) as store:
        yield store


async def add_site(store: Store, code: str = "a1", name: str = "Town hall") -> int:
    async with store.write() as connection:
        result = await connection.execute(insert(schema.site).values(code=code, name=name))
        [site_id] = result.inserted_primary_key or (0,)
    return int(site_id)
