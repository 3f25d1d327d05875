"""Looks at what has changed since it last looked: devices by their new hours, gateways by their silence."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.insight.hours import Hours, load_hours, main_counters
from collector.insight.meters import judge_device
from collector.insight.silence import judge_gateways
from collector.settings import Settings
from collector.store.engine import Store
from collector.store.schema import point, unscored
from models.times import Clock

AT_ONCE: Final = 2_000
"""Marks read in one round; the next round goes on."""


class InsightJob:
    """All it knows is in the database, so a restart loses nothing and forgets nothing."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self._store, self._clock = store, clock
        self._detectors = settings.detectors
        self._receivers = [receiver.name for receiver in settings.receivers]
        self._watching_since_ms = clock.now_ms()

    async def run_once(self) -> int:
        """How many devices were looked at."""
        async with self._store.read() as connection:
            marks = await _marks(connection)
        devices: dict[tuple[int, int], list[Row[Any]]] = {}
        for mark in marks:
            devices.setdefault((mark.site_id, mark.device), []).append(mark)
        for (site_id, device_no), of_device in devices.items():
            async with self._store.read() as connection:
                counters = await _counters(connection, site_id, device_no)
            now_ms = self._clock.now_ms()
            async with self._store.write() as connection:
                if counters:
                    await judge_device(connection, counters, self._detectors, self._receivers, now_ms=now_ms)
                await _clear(connection, of_device)
        if self._detectors.silent_gateway.enabled:
            async with self._store.write() as connection:
                await judge_gateways(
                    connection,
                    self._detectors.silent_gateway,
                    self._receivers,
                    now_ms=self._clock.now_ms(),
                    watching_since_ms=self._watching_since_ms,
                )
        return len(devices)


async def _marks(connection: AsyncConnection) -> Sequence[Row[Any]]:
    statement = (
        select(unscored, point.c.device)
        .join_from(
            unscored, point, and_(point.c.site_id == unscored.c.site_id, point.c.id == unscored.c.point_id)
        )
        .order_by(unscored.c.site_id, point.c.device)
        .limit(AT_ONCE)
    )
    return (await connection.execute(statement)).all()


async def _counters(connection: AsyncConnection, site_id: int, device_no: int) -> list[Hours]:
    counters = [
        await load_hours(connection, site_id, device_no, counter)
        for counter in await main_counters(connection, site_id, device_no)
    ]
    return [hours for hours in counters if hours is not None]


async def _clear(connection: AsyncConnection, marks: Sequence[Row[Any]]) -> None:
    """Marks that were set again meanwhile stay."""
    seen = [(mark.site_id, mark.point_id, mark.marked_no) for mark in marks]
    key = tuple_(unscored.c.site_id, unscored.c.point_id, unscored.c.marked_no)
    await connection.execute(delete(unscored).where(key.in_(seen)))
