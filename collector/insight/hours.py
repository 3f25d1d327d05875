"""The hours of a device's main counters, laid out for the detectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import consumption_hour, device, point, site
from models.times import DAY_MS, HOUR_MS

HISTORY_MS: Final = 120 * DAY_MS
ENOUGH_COVERAGE: Final = 0.9
"""Of an hour with less nothing is said."""

ENERGY_UNITS: Final = ("kWh", "MWh", "GJ", "m3")


@dataclass(frozen=True, slots=True)
class Hours:
    """The consumption of one counter, hour by hour without holes; NaN where it is not known."""

    site_id: int
    device: int
    device_name: str
    device_id: str
    gateway_id: str
    point: int
    point_name: str
    unit: str
    item_code: str | None
    resolution: float
    hour_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    zone: ZoneInfo

    def local_s(self) -> NDArray[np.int64]:
        """The hours on the building's own clock, which people live by.

        One offset for all, that of the last hour: where clocks change, the series stays even.
        """
        offset_s = _offset_s(self.zone, int(self.hour_ms[-1]))
        return self.hour_ms // 1000 + offset_s

    def facts(self) -> dict[str, Any]:
        """What names the subject of a finding."""
        return {
            "device": self.device_name,
            "device_id": self.device_id,
            "gateway_id": self.gateway_id,
            "point": self.point_name,
            "unit": self.unit,
        }


async def main_counters(connection: AsyncConnection, site_id: int, device_no: int) -> Sequence[Row[Any]]:
    """The counters by which a device is judged: those that count for an energy item, else all of energy."""
    statement = (
        select(
            point.c.id,
            point.c.name,
            point.c.unit,
            point.c.item_code,
            point.c.decimals,
            device.c.name.label("device_name"),
            device.c.device_id,
            device.c.gateway_id,
            site.c.timezone,
        )
        .join_from(point, device, and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device))
        .join(site, site.c.id == point.c.site_id)
        .where(point.c.site_id == site_id, point.c.device == device_no, point.c.kind == "counter")
        .where(point.c.unit.in_(ENERGY_UNITS))
        .order_by(point.c.id)
    )
    counters: list[Row[Any]] = list(await connection.execute(statement))
    return [row for row in counters if row.item_code] or counters


async def load_hours(
    connection: AsyncConnection, site_id: int, device_no: int, counter: Row[Any]
) -> Hours | None:
    """The last `HISTORY_MS` of one counter; None when it has no hours yet."""
    hour = consumption_hour
    of_counter = (hour.c.site_id == site_id, hour.c.point_id == counter.id)
    newest = (await connection.execute(select(func.max(hour.c.hour_ms)).where(*of_counter))).scalar_one()
    if newest is None:
        return None
    statement = (
        select(hour.c.hour_ms, hour.c.value, hour.c.coverage, hour.c.state)
        .where(*of_counter, hour.c.hour_ms > newest - HISTORY_MS)
        .order_by(hour.c.hour_ms)
    )
    rows = (await connection.execute(statement)).all()
    first = rows[0].hour_ms
    hours = np.arange(first, newest + HOUR_MS, HOUR_MS, dtype=np.int64)
    values = np.full(len(hours), np.nan)
    for row in rows:
        if row.state == "measured" and row.coverage >= ENOUGH_COVERAGE:
            values[(row.hour_ms - first) // HOUR_MS] = row.value
    while len(values) and np.isnan(values[-1]):  # the hour that is not over yet
        hours, values = hours[:-1], values[:-1]
    if not len(values):
        return None
    return Hours(
        site_id=site_id,
        device=device_no,
        device_name=counter.device_name,
        device_id=counter.device_id,
        gateway_id=counter.gateway_id,
        point=counter.id,
        point_name=counter.name,
        unit=counter.unit,
        item_code=counter.item_code,
        resolution=10.0**-counter.decimals,
        hour_ms=hours,
        value=values,
        zone=ZoneInfo(counter.timezone),
    )


def _offset_s(zone: ZoneInfo, at_ms: int) -> int:
    offset = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0
