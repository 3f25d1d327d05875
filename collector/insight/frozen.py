"""Tells from its readings whether a device shows nothing but old values, or has no load."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import device, latest, point, reading
from models.reading import Quality
from models.times import DAY_MS, HOUR_MS

LEAST_POINTS: Final = 2
"""One value may well stay the same; two that always moved do not both stop."""

HISTORY_DAYS: Final = 7  # a weekend is among them
LEAST_KNOWN_DAYS: Final = 5
LOAD_UNITS: Final = ("W", "kW", "MW", "A")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A device none of whose values has changed for some time, though they did at that time of other days."""

    site_id: int
    device: int
    since_ms: int  # the last time that a value changed
    end_ms: int  # its newest reading
    points: tuple[str, ...]  # those that used to move


async def frozen_devices(
    connection: AsyncConnection, *, now_ms: int, after_hours: int, live_ms: int
) -> list[Frozen]:
    """All devices that answer and are frozen. A device of which one value moves costs a few look-ups."""
    found = []
    for row in await _standing(connection, now_ms - live_ms, after_hours * HOUR_MS):
        frozen = await _judge(connection, row.site_id, row.device, row.end_ms, after_hours * HOUR_MS)
        if frozen is not None:
            found.append(frozen)
    return found


async def _standing(connection: AsyncConnection, since_ms: int, window_ms: int) -> Sequence[Row[Any]]:
    """Devices all of whose newest values are as old as the window, by several gauges that are not zero."""
    moved = (
        select(1)
        .where(reading.c.site_id == latest.c.site_id, reading.c.point_id == latest.c.point_id)
        .where(reading.c.measured_ms > latest.c.measured_ms - window_ms)
        .where(reading.c.quality == int(Quality.GOOD), reading.c.value != latest.c.value)
        .exists()
    )
    shown = and_(point.c.kind == "gauge", latest.c.value != 0)
    statement = (
        select(point.c.site_id, point.c.device, func.max(latest.c.measured_ms).label("end_ms"))
        .join_from(latest, point, and_(point.c.site_id == latest.c.site_id, point.c.id == latest.c.point_id))
        .join(device, and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device))
        .where(point.c.kind.in_(("gauge", "counter")), device.c.profile != "")
        .where(latest.c.quality == int(Quality.GOOD), latest.c.measured_ms > since_ms)
        .group_by(point.c.site_id, point.c.device)
        .having(func.max(moved) == 0, func.sum(shown) >= LEAST_POINTS)
    )
    return list(await connection.execute(statement))


async def _judge(
    connection: AsyncConnection, site_id: int, number: int, end_ms: int, window_ms: int
) -> Frozen | None:
    gauges = (
        select(point.c.id, point.c.name)
        .where(point.c.site_id == site_id, point.c.device == number, point.c.kind == "gauge")
        .order_by(point.c.id)
    )
    used_to_move, since_ms = [], 0
    for row in (await connection.execute(gauges)).all():
        now = await _range(connection, site_id, row.id, end_ms - window_ms, end_ms)
        # Readings must reach back to the beginning of the window, or nothing is known of it.
        if now.known < 2 or now.first_ms > end_ms - window_ms + HOUR_MS:
            continue
        if await _moved_on_other_days(connection, site_id, row.id, end_ms, window_ms):
            used_to_move.append(row.name)
            since_ms = max(since_ms, await _last_change(connection, site_id, row.id, now.highest))
    if len(used_to_move) < LEAST_POINTS:
        return None
    return Frozen(site_id, number, since_ms, end_ms, tuple(used_to_move))


async def _moved_on_other_days(
    connection: AsyncConnection, site_id: int, point_id: int, end_ms: int, window_ms: int
) -> bool:
    known = 0
    for day in range(1, HISTORY_DAYS + 1):
        until_ms = end_ms - day * DAY_MS
        then = await _range(connection, site_id, point_id, until_ms - window_ms, until_ms)
        if then.known < 2:
            continue
        if then.lowest == then.highest:
            return False
        known += 1
    return known >= LEAST_KNOWN_DAYS


def _good(site_id: int, point_id: int) -> Any:
    return and_(
        reading.c.site_id == site_id,
        reading.c.point_id == point_id,
        reading.c.quality == int(Quality.GOOD),
    )


async def _range(
    connection: AsyncConnection, site_id: int, point_id: int, start_ms: int, end_ms: int
) -> Row[Any]:
    statement = select(
        func.count().label("known"),
        func.min(reading.c.measured_ms).label("first_ms"),
        func.min(reading.c.value).label("lowest"),
        func.max(reading.c.value).label("highest"),
    ).where(_good(site_id, point_id), reading.c.measured_ms > start_ms, reading.c.measured_ms <= end_ms)
    row: Row[Any] = (await connection.execute(statement)).one()
    return row


async def _last_change(connection: AsyncConnection, site_id: int, point_id: int, value: float) -> int:
    """The first reading that shows `value` as the newest ones do."""
    before = (
        select(reading.c.measured_ms)
        .where(_good(site_id, point_id), reading.c.value != value)
        .order_by(reading.c.measured_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    first = select(func.min(reading.c.measured_ms)).where(
        _good(site_id, point_id), reading.c.measured_ms > func.coalesce(before, 0)
    )
    return int((await connection.execute(first)).scalar_one())


async def load_is_off(
    connection: AsyncConnection, site_id: int, number: int, *, start_ms: int, end_ms: int
) -> bool:
    """Power and current read zero all the time while something else moved: the meter lives, its load not."""
    statement = (
        select(
            point.c.unit,
            func.min(reading.c.value).label("lowest"),
            func.max(reading.c.value).label("highest"),
        )
        .join_from(
            point, reading, and_(reading.c.site_id == point.c.site_id, reading.c.point_id == point.c.id)
        )
        .where(point.c.site_id == site_id, point.c.device == number, point.c.kind == "gauge")
        .where(reading.c.measured_ms > start_ms, reading.c.measured_ms < end_ms)
        .where(reading.c.quality == int(Quality.GOOD))
        .group_by(point.c.id)
    )
    rows = (await connection.execute(statement)).all()
    loads = [row for row in rows if row.unit in LOAD_UNITS]
    return (
        bool(loads)
        and all(row.lowest == row.highest == 0 for row in loads)
        and any(row.lowest != row.highest for row in rows)
    )
