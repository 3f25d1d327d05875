"""Brings the alert of a condition into step with what a detector sees of it."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import (
    OPEN_STATES,
    RECOVERED,
    Opening,
    find_last,
    find_open,
    open_alert,
    refresh,
    resolve,
)
from collector.store.schema import alert
from models.times import HOUR_MS

REOPEN_MS: Final = 24 * HOUR_MS
"""A person has closed an alert and its cause goes on: so much later it is an alert again."""

LIVE_MS: Final = 6 * HOUR_MS
"""What happened longer ago than this neither raises nor ends an alert: it arrived late."""


async def holds(
    connection: AsyncConnection, opening: Opening, receivers: Sequence[str], *, now_ms: int
) -> None:
    """Open the alert, or tell more of the one that is open. A closed one stays closed for its cause."""
    row = await find_open(connection, opening.site_id, opening.condition)
    if row is not None:
        if row.data != opening.data:
            await refresh(connection, opening.site_id, row.id, opening.data)
        return
    last = await find_last(connection, opening.site_id, opening.condition)
    if last is None or _is_new(last, opening, now_ms):
        await open_alert(connection, opening, receivers, now_ms=now_ms)


async def is_over(
    connection: AsyncConnection, site_id: int, condition: str, *, since_ms: int, now_ms: int
) -> None:
    """The condition has not held since `since_ms` (event time): close its alert if one is open."""
    row = await find_open(connection, site_id, condition)
    if row is not None:
        resolved_ms = max(since_ms, row.opened_ms)
        await resolve(connection, site_id, row.id, by=RECOVERED, now_ms=now_ms, resolved_ms=resolved_ms)


async def open_conditions(connection: AsyncConnection, detector: str) -> Sequence[Row[int, str]]:
    """Site and condition of each open alert of a detector."""
    statement = select(alert.c.site_id, alert.c.condition).where(
        alert.c.detector == detector, alert.c.state.in_(OPEN_STATES)
    )
    return (await connection.execute(statement)).all()


def _is_new(last: Row[Any], opening: Opening, now_ms: int) -> bool:
    """Whether this is another cause than that of the last alert, or went on for long enough after it."""
    if last.resolved_by == RECOVERED:
        return bool(opening.opened_ms >= last.resolved_ms)
    return bool(opening.opened_ms > last.resolved_ms or now_ms >= last.resolved_ms + REOPEN_MS)
