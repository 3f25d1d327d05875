"""Server-sent events: alerts with replay, and values as they change."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, Protocol

from anyio import CancelScope
from fastapi import APIRouter, Header, Request
from sqlalchemy import Row, Select, and_, func, select, tuple_
from starlette.responses import StreamingResponse

from collector.api import examples
from collector.api.access import Caller, Reads, find_caller
from collector.api.answers import answers
from collector.api.live import LiveHub, PointKey, latest_points
from collector.api.parameters import SiteCode
from collector.api.problems import bad_parameter, refuse
from collector.api.readings import latest_item
from collector.api.shapes import StreamAlert, moment
from collector.store.engine import Store
from collector.store.schema import alert, alert_change, latest

router = APIRouter(prefix="/api/v1", tags=["stream"])

HEARTBEAT_S: Final = 15.0  # proxies cut what is silent for 30 to 60 s; also how soon a revoked token ends it
RETRY_MS: Final = 3000
_REPLAY_ROWS: Final = 500


class Rendering(Protocol):
    """How a stream shows what it sends; a program and a page want different things."""

    def value(self, row: Row[Any]) -> str:
        """The data of an event `latest`, without line breaks."""

    def alert(self, row: Row[Any]) -> str:
        """The data of an event `alert`, without line breaks."""


class _ForPrograms:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def value(self, row: Row[Any]) -> str:
        return latest_item(row, self._caller).model_dump_json()

    def alert(self, row: Row[Any]) -> str:
        return StreamAlert(
            site=self._caller.sites[row.site_id].code,
            alert=row.alert_id,
            state=row.state,
            by=row.by,
            at=moment(row.at_ms),
            condition=row.condition,
            detector=row.detector,
            severity=row.severity,
            data=row.data,
        ).model_dump_json()


@router.get(
    "/stream",
    summary="Alerts and live values as they come",
    response_class=StreamingResponse,
    responses=answers(
        f"event: alert\nid: 17\ndata: {json.dumps(examples.STREAM_ALERT, ensure_ascii=False)}\n\n"
        f"event: latest\ndata: {json.dumps(examples.LATEST, ensure_ascii=False)}\n\n",
        404,
        media_type="text/event-stream",
    ),
)
async def stream(
    request: Request,
    caller: Reads,
    site: SiteCode = None,
    last_event_id: Annotated[
        str | None,
        Header(description="id of the last `alert` that arrived: the ones after it are sent again."),
    ] = None,
) -> StreamingResponse:
    """Server-sent events. Begins with the newest value of every point, then sends each as it changes.

    Without Last-Event-ID alerts begin now; with it, none is lost however long the connection was away.
    A comment every 15 s shows that the stream lives.
    """
    scoped = caller.narrowed(site)
    after = _alert_cursor(last_event_id)
    state = request.app.state
    token = request.headers["authorization"].partition(" ")[2].strip()

    async def is_valid() -> bool:
        again = await find_caller(state.store, token, state.real_now_ms())
        return again == caller

    return open_stream(
        state.live,
        state.store,
        scoped,
        _ForPrograms(scoped),
        is_valid,
        alerts_after=after,
        points=None,
        heartbeat_s=state.heartbeat_s,
    )


def open_stream(
    hub: LiveHub,
    store: Store,
    caller: Caller,
    rendering: Rendering,
    is_valid: Callable[[], Awaitable[bool]],
    *,
    alerts_after: int | None,
    points: frozenset[PointKey] | None,
    heartbeat_s: float,
) -> StreamingResponse:
    """A response that lasts until the client leaves, `is_valid` says no, or the hub is closed."""
    if hub.is_full:
        raise refuse(
            503,
            "too-many-streams",
            "Too many streams are open",
            detail="The collector serves as many streams as it can.",
            hint="Close streams that nobody watches, or try again in a minute.",
            headers={"retry-after": "60"},
        )
    return StreamingResponse(
        _events(hub, store, caller, rendering, is_valid, alerts_after, points, heartbeat_s),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},  # a proxy that collects the answer would hold back every event
    )


async def _events(
    hub: LiveHub,
    store: Store,
    caller: Caller,
    rendering: Rendering,
    is_valid: Callable[[], Awaitable[bool]],
    alerts_after: int | None,
    points: frozenset[PointKey] | None,
    heartbeat_s: float,
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    with hub.subscribe(caller.sites.keys(), points) as subscription:
        yield f"retry: {RETRY_MS}\n\n"
        change_id = await _newest_change(store) if alerts_after is None else alerts_after
        values = await _read(store, _values(caller, points))
        alerts, checked_at = True, loop.time()
        while True:
            if values:
                yield "".join(f"event: latest\ndata: {rendering.value(row)}\n\n" for row in values)
            while alerts:
                changes = await _read(store, _alerts(caller, change_id))
                for row in changes:
                    change_id = row.change_id
                    yield f"event: alert\nid: {change_id}\ndata: {rendering.alert(row)}\n\n"
                alerts = len(changes) == _REPLAY_ROWS
            news = await subscription.news(heartbeat_s)
            if news.ended:
                return
            if loop.time() - checked_at >= heartbeat_s:
                with CancelScope(shield=True):
                    if not await is_valid():
                        return
                checked_at = loop.time()
            values, alerts = news.values, news.alerts
            if not values and not alerts:
                yield ": still here\n\n"


async def _newest_change(store: Store) -> int:
    [newest] = await _read(store, select(func.coalesce(func.max(alert_change.c.id), 0)))
    return int(newest[0])


async def _read(store: Store, statement: Select[Any]) -> list[Row[Any]]:
    """A client that leaves cancels its stream; a query cut off half-way would cost its connection."""
    rows: list[Row[Any]] = []
    with CancelScope(shield=True):
        async with store.read() as connection:
            rows.extend((await connection.execute(statement)).all())
    return rows


def _values(caller: Caller, points: frozenset[PointKey] | None) -> Select[Any]:
    statement = latest_points().where(caller.owns(latest.c.site_id))
    if points is not None:
        statement = statement.where(tuple_(latest.c.site_id, latest.c.point_id).in_(points))
    return statement


def _alerts(caller: Caller, after: int) -> Select[Any]:
    return (
        select(
            alert_change.c.id.label("change_id"),
            alert_change.c.site_id,
            alert_change.c.alert_id,
            alert_change.c.state,
            alert_change.c.by,
            alert_change.c.at_ms,
            alert.c.condition,
            alert.c.detector,
            alert.c.severity,
            alert.c.data,
        )
        .join_from(
            alert_change,
            alert,
            and_(alert.c.site_id == alert_change.c.site_id, alert.c.id == alert_change.c.alert_id),
        )
        .where(caller.owns(alert_change.c.site_id), alert_change.c.id > after)
        .order_by(alert_change.c.id)
        .limit(_REPLAY_ROWS)
    )


def _alert_cursor(last_event_id: str | None) -> int | None:
    if last_event_id is None or last_event_id == "":
        return None
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise bad_parameter(
            "Last-Event-ID",
            "it is none of ours",
            "Give the id of the last event `alert`, or leave it out to begin now.",
        )
    return int(last_event_id)
