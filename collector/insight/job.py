"""Looks at what has changed since it last looked: devices by their new hours, gateways by their silence."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.identity.enrolment import real_now_ms
from collector.insight.conditions import LIVE_MS, open_conditions
from collector.insight.factors import Factors
from collector.insight.frozen import Frozen, frozen_devices
from collector.insight.judge import judge
from collector.insight.keep import STUCK, keep_judgement
from collector.insight.late import judge_forwarding
from collector.insight.refused import judge_refusals
from collector.insight.returning import judge_returns
from collector.insight.silence import judge_gateways
from collector.settings import Settings
from collector.store.engine import Store
from collector.store.schema import point, unscored
from models.times import HOUR_MS, Clock

CHUNK: Final = 500
"""Marks read at once; the round goes on until there are no more."""

_KEY: Final = (unscored.c.site_id, unscored.c.point_id)
_DeviceKey = tuple[int, int]  # site, number


class InsightJob:
    """All it knows is in the database, so a restart loses nothing and forgets nothing."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        *,
        real_now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        """`real_now_ms` is what questions of gateways live by, whatever `clock` shows."""
        self._store, self._clock, self._real_now_ms = store, clock, real_now_ms
        self._detectors = settings.detectors
        self._receivers = [receiver.name for receiver in settings.receivers]
        self._factors = Factors(settings.factors)
        self._watching_since_ms = clock.now_ms()

    async def run_once(self) -> int:
        """How many devices were looked at: those with an hour that is new and over, and those in doubt."""
        now_ms = self._clock.now_ms()
        frozen = await self._frozen(now_ms)
        looked: set[_DeviceKey] = set()
        after = (0, 0, 0)
        while True:
            async with self._store.read() as connection:
                marks = await _marks(connection, after, now_ms)
            for key, of_device in groupby(marks, key=lambda mark: (mark.site_id, mark.device)):
                await self._look_at(key, frozen.get(key), list(of_device))
                looked.add(key)
            if len(marks) < CHUNK:
                break
            after = (marks[-1].site_id, marks[-1].device, marks[-1].point_id)
        for key in (set(frozen) | await self._called_stuck()) - looked:
            await self._look_at(key, frozen.get(key), [])
            looked.add(key)
        if self._detectors.silent_gateway.enabled:
            await self._look_at_gateways()
        if self._detectors.refused_gateway.enabled:
            async with self._store.write() as connection:
                await judge_refusals(connection, self._receivers, now_ms=self._clock.now_ms())
        if self._detectors.returning_gateway.enabled:
            async with self._store.write() as connection:
                await judge_returns(
                    connection,
                    self._receivers,
                    now_ms=self._clock.now_ms(),
                    real_now_ms=self._real_now_ms(),
                )
        if self._detectors.late_upstream.enabled:
            async with self._store.write() as connection:
                await judge_forwarding(
                    connection,
                    self._detectors.late_upstream,
                    self._receivers,
                    now_ms=self._clock.now_ms(),
                )
        return len(looked)

    async def _frozen(self, now_ms: int) -> dict[_DeviceKey, Frozen]:
        settings = self._detectors.stuck_meter
        if not settings.enabled:
            return {}
        async with self._store.read() as connection:
            found = await frozen_devices(
                connection, now_ms=now_ms, after_hours=settings.after_hours, live_ms=LIVE_MS
            )
        return {(each.site_id, each.device): each for each in found}

    async def _called_stuck(self) -> set[_DeviceKey]:
        """A device without counters has no hours that would tell that it is well again."""
        if not self._detectors.stuck_meter.enabled:
            return set()
        async with self._store.read() as connection:
            found = await open_conditions(connection, STUCK)
        return {(site_id, int(condition.rpartition(":")[2])) for site_id, condition in found}

    async def _look_at(self, key: _DeviceKey, frozen: Frozen | None, marks: Sequence[Row[Any]]) -> None:
        now_ms = self._clock.now_ms()
        async with self._store.read() as connection:
            judgement = await judge(
                connection,
                *key,
                frozen=frozen,
                detectors=self._detectors,
                factors=self._factors,
                now_ms=now_ms,
            )
        async with self._store.write() as connection:
            await keep_judgement(connection, judgement, self._detectors, self._receivers, now_ms=now_ms)
            if marks:
                await _clear(connection, marks)

    async def _look_at_gateways(self) -> None:
        async with self._store.write() as connection:
            await judge_gateways(
                connection,
                self._detectors.silent_gateway,
                self._receivers,
                now_ms=self._clock.now_ms(),
                watching_since_ms=self._watching_since_ms,
            )


async def _marks(connection: AsyncConnection, after: tuple[int, int, int], now_ms: int) -> Sequence[Row[Any]]:
    """Counters with a changed hour that is over, device by device. The hour that goes on must wait."""
    order = (unscored.c.site_id, point.c.device, unscored.c.point_id)
    statement = (
        select(unscored, point.c.device)
        .join_from(
            unscored, point, and_(point.c.site_id == unscored.c.site_id, point.c.id == unscored.c.point_id)
        )
        .where(unscored.c.from_ms <= now_ms - HOUR_MS, tuple_(*order) > after)
        .order_by(*order)
        .limit(CHUNK)
    )
    return (await connection.execute(statement)).all()


async def _clear(connection: AsyncConnection, marks: Sequence[Row[Any]]) -> None:
    """Marks that were set again meanwhile stay."""
    seen = [(mark.site_id, mark.point_id, mark.marked_no) for mark in marks]
    await connection.execute(delete(unscored).where(tuple_(*_KEY, unscored.c.marked_no).in_(seen)))
