"""Opens and closes alerts: firing → acknowledged → resolved, in event time.

Every function works inside the transaction of its caller, so an alert, its history and the messages about
it are committed together or not at all. At most one alert of a condition is open; the database sees to it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Row, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.message import new_message
from collector.store.schema import alert, alert_change, outbox, site
from models.errors import BadInput

COLLECTOR: Final = "collector"
"""Who opens an alert."""
RECOVERED: Final = "recovered"
"""Who closes an alert whose condition no longer holds."""

OPEN_STATES: Final = ("firing", "acknowledged")

Severity = Literal["warning", "critical"]


class AlertUnknown(BadInput):
    """There is no such alert."""

    def __init__(self, site_id: int, alert_id: int) -> None:
        super().__init__(f"site {site_id} has no alert {alert_id}; list the alerts to find its number")
        self.site_id, self.alert_id = site_id, alert_id


class AlertIsResolved(BadInput):
    """The alert is closed, and a closed alert does not change."""

    def __init__(self, site_id: int, alert_id: int, resolved_by: str) -> None:
        super().__init__(
            f"alert {alert_id} of site {site_id} was closed by {resolved_by}; "
            "if the condition comes back, a new alert opens"
        )
        self.site_id, self.alert_id, self.resolved_by = site_id, alert_id, resolved_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is to be an alert unless one of its condition is open already."""

    site_id: int
    condition: str  # "stuck:device:3"
    detector: str
    severity: Severity
    opened_ms: int  # event time: when the condition began to hold
    data: Mapping[str, Any]  # title and text in zh and en, and what the detector saw


async def open_alert(
    connection: AsyncConnection, opening: Opening, receivers: Sequence[str], *, now_ms: int
) -> int | None:
    """The number of the new alert, or None when one of this condition is open: then nothing changes.

    `receivers` are the names of those who are to be told.
    """
    number = select(
        literal(opening.site_id),
        func.coalesce(func.max(alert.c.id), 0) + 1,
        literal(opening.condition),
        literal(opening.detector),
        literal("firing"),
        literal(opening.severity),
        literal(dict(opening.data), alert.c.data.type),
        literal(opening.opened_ms),
    ).where(alert.c.site_id == opening.site_id)
    statement = (
        insert_or_skip(alert)
        .from_select(
            ["site_id", "id", "condition", "detector", "state", "severity", "data", "opened_ms"], number
        )
        .on_conflict_do_nothing()
        .returning(alert.c.id)
    )
    alert_id = (await connection.execute(statement)).scalar_one_or_none()
    if alert_id is None:
        return None
    await _changed(connection, opening.site_id, alert_id, "firing", COLLECTOR, now_ms, receivers)
    return int(alert_id)


async def acknowledge(
    connection: AsyncConnection, site_id: int, alert_id: int, *, by: str, now_ms: int
) -> None:
    """Somebody deals with it. Who did so first stays; raise AlertUnknown or AlertIsResolved."""
    row = await _find(connection, site_id, alert_id)
    if row.state == "acknowledged":
        return
    await connection.execute(
        _of(site_id, alert_id).values(state="acknowledged", acknowledged_by=by, acknowledged_ms=now_ms)
    )
    await _changed(connection, site_id, alert_id, "acknowledged", by, now_ms, ())


async def resolve(
    connection: AsyncConnection,
    site_id: int,
    alert_id: int,
    *,
    by: str,
    now_ms: int,
    resolved_ms: int | None = None,
) -> None:
    """It is over, since `resolved_ms` (event time) or now; raise AlertUnknown or AlertIsResolved.

    Whoever was told that it fires is told that it is over.
    """
    await _find(connection, site_id, alert_id)
    ended_ms = now_ms if resolved_ms is None else resolved_ms
    await connection.execute(
        _of(site_id, alert_id).values(state="resolved", resolved_by=by, resolved_ms=ended_ms)
    )
    told = select(outbox.c.receiver).where(
        outbox.c.site_id == site_id, outbox.c.alert_id == alert_id, outbox.c.state != "dead"
    )
    receivers = (await connection.execute(told.distinct().order_by(outbox.c.receiver))).scalars().all()
    await _changed(connection, site_id, alert_id, "resolved", by, now_ms, receivers)


async def refresh(connection: AsyncConnection, site_id: int, alert_id: int, data: Mapping[str, Any]) -> None:
    """Tell more of an open alert as it goes on. No message: it is the same alert."""
    await connection.execute(_of(site_id, alert_id).values(data=dict(data)))


async def find_open(connection: AsyncConnection, site_id: int, condition: str) -> Row[Any] | None:
    """The open alert of a condition."""
    statement = select(alert).where(
        alert.c.site_id == site_id, alert.c.condition == condition, alert.c.state.in_(OPEN_STATES)
    )
    return (await connection.execute(statement)).one_or_none()


async def find_last(connection: AsyncConnection, site_id: int, condition: str) -> Row[Any] | None:
    """The newest alert of a condition, open or not."""
    statement = (
        select(alert)
        .where(alert.c.site_id == site_id, alert.c.condition == condition)
        .order_by(alert.c.id.desc())
        .limit(1)
    )
    return (await connection.execute(statement)).one_or_none()


def _of(site_id: int, alert_id: int) -> Any:
    return update(alert).where(alert.c.site_id == site_id, alert.c.id == alert_id)


async def _find(connection: AsyncConnection, site_id: int, alert_id: int) -> Row[Any]:
    statement = select(alert).where(alert.c.site_id == site_id, alert.c.id == alert_id)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise AlertUnknown(site_id, alert_id)
    if row.state == "resolved":
        raise AlertIsResolved(site_id, alert_id, row.resolved_by)
    return row


async def _changed(
    connection: AsyncConnection,
    site_id: int,
    alert_id: int,
    state: str,
    by: str,
    now_ms: int,
    receivers: Sequence[str],
) -> None:
    """Write the history and, in the same transaction, one message for each receiver."""
    await connection.execute(
        insert(alert_change).values(site_id=site_id, alert_id=alert_id, state=state, by=by, at_ms=now_ms)
    )
    if not receivers:
        return
    statement = (
        select(alert, site.c.code.label("site_code"), site.c.name.label("site_name"), site.c.timezone)
        .join_from(alert, site, site.c.id == alert.c.site_id)
        .where(alert.c.site_id == site_id, alert.c.id == alert_id)
    )
    message = new_message((await connection.execute(statement)).one(), by=by)
    await connection.execute(
        insert(outbox),
        [
            {
                "idempotency_key": secrets.token_hex(16),  # kept by every repetition
                "site_id": site_id,
                "alert_id": alert_id,
                "receiver": receiver,
                "message": message,
                "state": "waiting",
                "next_try_ms": now_ms,
                "created_ms": now_ms,
            }
            for receiver in dict.fromkeys(receivers)
        ],
    )
