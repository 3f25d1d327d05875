"""Finds gateways from which nothing arrives, and tells when they are back."""

from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import RECOVERED, Opening, find_open, open_alert, resolve
from collector.insight import texts
from collector.settings import SilentGateway
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
    for row in await _gateways(connection):
        condition = f"{SILENT}:gateway:{row.id}"
        allowed_ms = max(settings.after_minutes * 60_000, PERIODS * 1000 * (row.slowest_s or 0))
        silent_ms = now_ms - max(row.last_seen_ms, watching_since_ms)
        open_row = await find_open(connection, row.site_id, condition)
        if silent_ms > allowed_ms and row.state == "active":
            if open_row is None:
                opening = Opening(
                    site_id=row.site_id,
                    condition=condition,
                    detector=SILENT,
                    severity="critical",
                    opened_ms=row.last_seen_ms,
                    data=_data(row, now_ms),
                )
                await open_alert(connection, opening, receivers, now_ms=now_ms)
        elif open_row is not None and (row.last_seen_ms > open_row.opened_ms or row.state != "active"):
            await resolve(
                connection,
                row.site_id,
                open_row.id,
                by=RECOVERED,
                now_ms=now_ms,
                resolved_ms=row.last_seen_ms,
            )


async def _gateways(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Those that have ever been heard, with what tells how often they should be."""
    statement = (
        select(
            gateway,
            site.c.timezone,
            func.max(device.c.period_s).label("slowest_s"),
            func.count(device.c.id).label("devices"),
        )
        .join_from(gateway, site, site.c.id == gateway.c.site_id)
        .outerjoin(device, and_(device.c.site_id == gateway.c.site_id, device.c.gateway_id == gateway.c.id))
        .where(gateway.c.last_seen_ms.is_not(None))
        .group_by(gateway.c.id)
    )
    return (await connection.execute(statement)).all()


def _data(row: Row[Any], now_ms: int) -> dict[str, Any]:
    data = {
        "gateway": row.name,
        "gateway_id": row.id,
        "devices": row.devices,
        "minutes": (now_ms - row.last_seen_ms) // 60_000,
    }
    return {**data, **texts.silent(data, since_ms=row.last_seen_ms, zone=ZoneInfo(row.timezone))}
