"""Tells open streams what is new: values of points as they change, and that alerts have changed.

One task looks into the database, woken by the intake or at the latest after `poll_s`, since a command
beside the collector may change something too. A stream that is slow costs only itself: of each point it
holds the newest value that was not sent yet, and alert changes it reads itself from where it stands.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.exc import OperationalError

from collector.store.engine import Store
from collector.store.schema import alert_change, latest, point

PointKey = tuple[int, int]
"""Site id and point id."""

STREAMS_MAX: Final = 500  # each holds a connection of the web server and the newest value of its points
_OVERLAP_MS: Final = 60_000  # a batch may commit this much after it took the time that `stored_ms` notes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """What a stream has to send. `ended`: the collector stops, nothing more will come."""

    values: list[Row[Any]]
    alerts: bool
    ended: bool


class Subscription:
    """What one stream has not sent yet."""

    def __init__(self, sites: Set[int], points: Set[PointKey] | None) -> None:
        self._sites, self._points = sites, points
        self._values: dict[PointKey, Row[Any]] = {}
        self._alerts = False
        self._ended = False
        self._something = asyncio.Event()

    def offer(self, values: list[Row[Any]], alert_sites: Set[int]) -> None:
        for row in values:
            key = (row.site_id, row.point_id)
            if row.site_id in self._sites and (self._points is None or key in self._points):
                self._values[key] = row
        self._alerts = self._alerts or not self._sites.isdisjoint(alert_sites)
        if self._values or self._alerts:
            self._something.set()

    def end(self) -> None:
        self._ended = True
        self._something.set()

    async def news(self, timeout_s: float) -> News:
        """Everything since the last call, as soon as there is something; empty after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._something.wait()
        news = News(list(self._values.values()), self._alerts, self._ended)
        self._values, self._alerts = {}, False
        if not self._ended:
            self._something.clear()
        return news


def latest_points() -> Select[Any]:
    """The newest reading of every point, with what is needed to show it."""
    return select(latest, point.c.device, point.c.name, point.c.unit, point.c.decimals).join_from(
        latest, point, and_(point.c.site_id == latest.c.site_id, point.c.id == latest.c.point_id)
    )


class LiveHub:
    """The one who looks for news. `run` is its task; `close` ends `run` and every stream."""

    def __init__(self, store: Store, *, poll_s: float = 2.0) -> None:
        self._store, self._poll_s = store, poll_s
        self._subscriptions: set[Subscription] = set()
        self._wake = asyncio.Event()
        self._closed = False
        self._stored_ms: int | None = None
        self._seen: dict[PointKey, tuple[int, int]] = {}
        self._change_id = 0
        self._failing = False

    def wake(self) -> None:
        """Something was stored: look now. Only for the loop's own thread."""
        self._wake.set()

    def close(self) -> None:
        """End every stream and `run`. Safe to call twice; call it when the server is told to stop."""
        self._closed = True
        self._wake.set()
        for subscription in self._subscriptions:
            subscription.end()

    @property
    def is_full(self) -> bool:
        """Whether the next stream must be refused."""
        return len(self._subscriptions) >= STREAMS_MAX

    @contextlib.contextmanager
    def subscribe(self, sites: Set[int], points: Set[PointKey] | None = None) -> Iterator[Subscription]:
        """Hear of these sites, and of their `points` only when given."""
        subscription = Subscription(sites, points)
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        self._wake.set()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def run(self) -> None:
        """Look for news until closed. What is older, streams read themselves when they begin."""
        while not self._closed:
            if self._subscriptions:
                await self._look()
            else:
                self._stored_ms, self._seen = None, {}  # nobody hears: begin anew with the next stream
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _look(self) -> None:
        try:
            values, alert_sites = await self._changes()
        except OperationalError as err:  # such as a lock held too long: the next look finds the same news
            if not self._failing:
                _log.warning("live values stand still: %s", err)
            self._failing = True
            return
        if self._failing:
            _log.info("live values move again")
        self._failing = False
        for subscription in self._subscriptions:
            subscription.offer(values, alert_sites)

    async def _changes(self) -> tuple[list[Row[Any]], set[int]]:
        newest = select(func.coalesce(func.max(alert_change.c.id), 0))
        changed_sites = select(alert_change.c.site_id).where(alert_change.c.id > self._change_id).distinct()
        async with self._store.read() as connection:
            if self._stored_ms is None:
                last = select(func.coalesce(func.max(latest.c.stored_ms), 0))
                self._stored_ms = int((await connection.execute(last)).scalar_one())
            recent = latest_points().where(latest.c.stored_ms > self._stored_ms - _OVERLAP_MS)
            rows = (await connection.execute(recent)).all()
            alert_sites = set((await connection.execute(changed_sites)).scalars())
            self._change_id = (await connection.execute(newest)).scalar_one()
        values = []
        seen: dict[PointKey, tuple[int, int]] = {}
        for row in rows:
            key, state = (row.site_id, row.point_id), (row.measured_ms, row.stored_ms)
            seen[key] = state
            if self._seen.get(key) != state:
                values.append(row)
            self._stored_ms = max(self._stored_ms, row.stored_ms)
        self._seen = seen  # bounded: what is older than the overlap will not be read again
        return values, alert_sites
