"""What the overview shows: gateways, devices with fresh data, today's consumption, open alerts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import OPEN_STATES
from collector.api.access import Caller
from collector.api.inventory import ONLINE_AT_LEAST_MS, ONLINE_PERIODS, gateways_of, is_online
from collector.insight.factors import Factors
from collector.store.schema import alert, consumption_hour, device, latest, point
from collector.web.render import local
from models.reading import Quality

GATEWAYS_SHOWN: Final = 12
ALERTS_SHOWN: Final = 8

GatewayState = Literal["online", "silent", "waiting", "revoked"]


@dataclass(frozen=True, slots=True)
class GatewayRow:
    site_id: int
    id: str
    name: str
    state: GatewayState
    last_seen_ms: int | None
    clock_skew_ms: int | None


@dataclass(frozen=True, slots=True)
class Gateways:
    """Those that need a look come first; `rest` more are online."""

    online: int
    total: int
    shown: list[GatewayRow]
    rest: int


@dataclass(frozen=True, slots=True)
class Devices:
    total: int
    fresh: int


@dataclass(frozen=True, slots=True)
class Amount:
    """What one category of energy used since midnight."""

    category: str  # the first two digits of the item code: "01" electricity
    value: float
    unit: str
    points: int
    worth: Mapping[str, float | str]  # kgce, co2 in kg, cost with currency: where a factor is known


async def gateways(connection: AsyncConnection, caller: Caller, now_ms: int) -> Gateways:
    rows = (await connection.execute(gateways_of(caller))).all()
    listed = [
        GatewayRow(row.site_id, row.id, row.name, _state(row, now_ms), row.last_seen_ms, row.clock_skew_ms)
        for row in rows
        if row.state == "active"
    ]
    listed.sort(key=lambda row: (row.state == "online", row.name, row.id))
    online = sum(row.state == "online" for row in listed)
    return Gateways(online, len(listed), listed[:GATEWAYS_SHOWN], max(0, len(listed) - GATEWAYS_SHOWN))


def _state(row: Row[Any], now_ms: int) -> GatewayState:
    if row.state != "active":
        return "revoked"
    if row.last_seen_ms is None:
        return "waiting"
    return "online" if is_online(row, now_ms) else "silent"


async def devices(connection: AsyncConnection, caller: Caller, now_ms: int) -> Devices:
    """A device has fresh data when a point of it was measured within three of its periods."""
    newest = (
        select(func.max(latest.c.measured_ms))
        .join_from(point, latest, and_(latest.c.site_id == point.c.site_id, latest.c.point_id == point.c.id))
        .where(point.c.site_id == device.c.site_id, point.c.device == device.c.id)
        .where(latest.c.quality != Quality.BAD)
        .scalar_subquery()
        .label("newest_ms")
    )
    statement = select(device.c.period_s, newest).where(caller.owns(device.c.site_id))
    rows = (await connection.execute(statement)).all()
    return Devices(len(rows), sum(_is_fresh(row.newest_ms, row.period_s, now_ms) for row in rows))


def _is_fresh(newest_ms: int | None, period_s: float | None, now_ms: int) -> bool:
    if newest_ms is None:
        return False
    return now_ms - newest_ms <= max(ONLINE_AT_LEAST_MS, ONLINE_PERIODS * 1000 * (period_s or 0))


async def today(connection: AsyncConnection, caller: Caller, factors: Factors, now_ms: int) -> list[Amount]:
    """By category, each site's day beginning at its own midnight.

    Only points whose item code stands for a whole category count: "01000" is all electricity of a
    meter, "01A00" a part of it that the first already holds.
    """
    found: dict[tuple[str, str], tuple[float, set[tuple[int, int]]]] = {}
    for midnight_ms, site_ids in _midnights(caller, now_ms).items():
        statement = (
            select(
                point.c.item_code,
                point.c.unit,
                consumption_hour.c.site_id,
                consumption_hour.c.point_id,
                func.sum(consumption_hour.c.value).label("value"),
            )
            .join_from(
                point,
                consumption_hour,
                and_(
                    point.c.site_id == consumption_hour.c.site_id, point.c.id == consumption_hour.c.point_id
                ),
            )
            .where(point.c.site_id.in_(site_ids), point.c.item_code.like("__000"))
            .where(consumption_hour.c.hour_ms >= midnight_ms, consumption_hour.c.hour_ms <= now_ms)
            .group_by(
                point.c.item_code, point.c.unit, consumption_hour.c.site_id, consumption_hour.c.point_id
            )
        )
        for row in (await connection.execute(statement)).all():
            value, points = found.get((row.item_code[:2], row.unit), (0.0, set()))
            points.add((row.site_id, row.point_id))
            found[row.item_code[:2], row.unit] = (value + (row.value or 0.0), points)
    zone = next((site.timezone for site in caller.sites.values()), "UTC")
    amounts = []
    for (category, unit), (value, points) in sorted(found.items()):
        day = local(now_ms, zone).date()
        worth = factors.worth(value, unit=unit, item_code=f"{category}000", on=day)
        amounts.append(Amount(category, value, unit, len(points), worth))
    return amounts


def midnight(now_ms: int, zone: str) -> int:
    """The beginning of the day at that place."""
    day = local(now_ms, zone).date()
    return round(datetime.combine(day, time.min, ZoneInfo(zone)).timestamp() * 1000)


def _midnights(caller: Caller, now_ms: int) -> dict[int, list[int]]:
    midnights: dict[int, list[int]] = {}
    for site in caller.sites.values():
        midnights.setdefault(midnight(now_ms, site.timezone), []).append(site.id)
    return midnights


@dataclass(frozen=True, slots=True)
class OpenAlerts:
    total: int
    critical: int
    shown: Sequence[Row[Any]]


async def open_alerts(connection: AsyncConnection, caller: Caller) -> OpenAlerts:
    mine = and_(caller.owns(alert.c.site_id), alert.c.state.in_(OPEN_STATES))
    counted = select(alert.c.severity, func.count()).where(mine).group_by(alert.c.severity)
    by_severity = {row[0]: row[1] for row in (await connection.execute(counted)).all()}
    statement = (
        select(alert)
        .where(mine)
        # Not taken on yet first, then the worst, then the newest.
        .order_by(alert.c.state.desc(), alert.c.severity, alert.c.opened_ms.desc(), alert.c.id.desc())
        .limit(ALERTS_SHOWN)
    )
    rows = (await connection.execute(statement)).all()
    return OpenAlerts(sum(by_severity.values()), by_severity.get("critical", 0), rows)
