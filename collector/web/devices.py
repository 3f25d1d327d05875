"""What the device pages show: devices with their headline values, and one device with all its points."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.api.access import Caller
from collector.store.schema import device, gateway, latest, point

DEVICES_A_PAGE: Final = 40
HEADLINES: Final = 3
_POWER_UNITS: Final = ("kW", "W", "MW", "m3/h", "m³/h", "L/h")


@dataclass(frozen=True, slots=True)
class DeviceRow:
    row: Row[Any]
    points: list[Row[Any]]


def devices_of(caller: Caller, search: str) -> Select[Any]:
    statement = (
        select(device, gateway.c.name.label("gateway_name"))
        .join_from(device, gateway, gateway.c.id == device.c.gateway_id, isouter=True)
        .where(caller.owns(device.c.site_id))
    )
    if search:
        statement = statement.where(
            or_(
                device.c.name.icontains(search, autoescape=True),
                device.c.device_id.icontains(search, autoescape=True),
            )
        )
    return statement


async def count_devices(connection: AsyncConnection, caller: Caller, search: str) -> int:
    counted = select(func.count()).select_from(devices_of(caller, search).subquery())
    return int((await connection.execute(counted)).scalar_one())


async def with_headlines(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[DeviceRow]:
    """Each device with the few points that say most about it."""
    points: defaultdict[tuple[int, int], list[Row[Any]]] = defaultdict(list)
    sites: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        sites[row.site_id].append(row.id)
    for site_id, device_ids in sites.items():
        statement = points_with_latest().where(point.c.site_id == site_id, point.c.device.in_(device_ids))
        for row in (await connection.execute(statement)).all():
            points[row.site_id, row.device].append(row)
    return [DeviceRow(row, headline_points(points[row.site_id, row.id])) for row in rows]


def headline_points(points: Iterable[Row[Any]]) -> list[Row[Any]]:
    """What a person looks at first: power, then what is counted, then the rest as the profile has it."""

    def rank(row: Row[Any]) -> tuple[int, int]:
        if row.unit in _POWER_UNITS and "_l" not in row.name:
            return (0, row.id)
        if row.kind == "counter":
            return (1 if row.item_code else 2, row.id)
        return (3 if row.kind == "state" else 4, row.id)

    return sorted(points, key=rank)[:HEADLINES]


def points_with_latest() -> Select[Any]:
    return (
        select(
            point,
            latest.c.measured_ms,
            latest.c.value,
            latest.c.quality,
            latest.c.reason,
        )
        .join_from(
            point,
            latest,
            and_(latest.c.site_id == point.c.site_id, latest.c.point_id == point.c.id),
            isouter=True,
        )
        .order_by(point.c.site_id, point.c.id)
    )


async def one_device(
    connection: AsyncConnection, caller: Caller, site_id: int, number: int
) -> DeviceRow | None:
    row = (
        await connection.execute(
            devices_of(caller, "").where(device.c.site_id == site_id, device.c.id == number)
        )
    ).one_or_none()
    if row is None:
        return None
    statement = points_with_latest().where(point.c.site_id == site_id, point.c.device == number)
    return DeviceRow(row, list((await connection.execute(statement)).all()))
