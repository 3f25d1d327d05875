"""Finds gateways from which nothing arrives, and tells when they are back."""

from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import Opening
from collector.identity.gateways import ACTIVE
from collector.identity.tokens import COLLECTOR
from collector.insight import texts
from collector.insight.conditions import holds, is_over
from collector.insight.settings import SilentGateway
from collector.store.schema import device, gateway, site

SILENT: Final = "silent"
PERIODS: Final = 3
"""A gateway may miss its slowest device's turn twice."""


async def judge_gateways(
    connection: AsyncConnection,
    settings: SilentGateway,
    receivers: Sequence[str],
    *,
    now_ms: int,
    watching_since_ms: int,
) -> None:
    """One alert for each silent gateway, however many devices it has. Call it inside one transaction.

    Silence counts from `watching_since_ms` at the earliest: a collector that was down has heard nobody.
    """
    rows = await _gateways(connection)
    cut_off = _silent_collectors(rows, settings, now_ms)
    for row in rows:
        if row.owner_site_id in cut_off or (row.kind == COLLECTOR and not row.forwarded):
            continue  # its collector is silent, which is one alert; or has nothing that it could tell
        condition = f"{SILENT}:gateway:{row.id}"
        heard_ms = row.last_seen_ms or row.enrolled_ms
        allowed_ms = max(settings.after_minutes * 60_000, PERIODS * 1000 * (row.slowest_s or 0))
        if row.state != ACTIVE:
            await is_over(
                connection, row.site_id, condition, since_ms=row.revoked_ms or now_ms, now_ms=now_ms
            )
        elif now_ms - heard_ms <= allowed_ms:
            await is_over(connection, row.site_id, condition, since_ms=heard_ms, now_ms=now_ms)
        elif now_ms - watching_since_ms > allowed_ms:
            opening = Opening(
                site_id=row.site_id,
                condition=condition,
                detector=SILENT,
                severity="critical",
                opened_ms=heard_ms,
                data=_data(row, heard_ms, allowed_ms),
            )
            await holds(connection, opening, receivers, now_ms=now_ms)


def _silent_collectors(rows: Sequence[Row[Any]], settings: SilentGateway, now_ms: int) -> set[int]:
    """The sites whose collector, which forwards for others, is itself not heard."""
    return {
        row.site_id
        for row in rows
        if row.kind == COLLECTOR
        and row.state == ACTIVE
        and now_ms - (row.last_seen_ms or row.enrolled_ms) > settings.after_minutes * 60_000
    }


async def _gateways(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """All gateways, with what tells how often they should be heard."""
    below = gateway.alias()
    forwarded = (
        select(func.count()).where(below.c.owner_site_id == gateway.c.site_id).correlate(gateway)
    ).scalar_subquery()
    statement = (
        select(
            gateway,
            forwarded.label("forwarded"),
            site.c.timezone,
            func.max(device.c.period_s).label("slowest_s"),
            func.count(device.c.id).label("devices"),
        )
        .join_from(gateway, site, site.c.id == gateway.c.site_id)
        .outerjoin(device, and_(device.c.site_id == gateway.c.site_id, device.c.gateway_id == gateway.c.id))
        .group_by(gateway.c.id)
    )
    return (await connection.execute(statement)).all()


def _data(row: Row[Any], heard_ms: int, allowed_ms: float) -> dict[str, Any]:
    """Without how long it has been silent, or the alert would have to be told anew each minute."""
    data = {
        "gateway": row.name,
        "gateway_id": row.id,
        "devices": row.devices,
        "allowed_minutes": round(allowed_ms / 60_000),
    }
    return {**data, **texts.silent(data, since_ms=heard_ms, zone=ZoneInfo(row.timezone))}
