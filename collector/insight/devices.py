"""What the detectors know of one device: its names, and the hours of its main counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
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

ENERGY_UNITS: Final = ("Wh", "kWh", "MWh", "MJ", "GJ", "m3", "L")


@dataclass(frozen=True, slots=True)
class Hours:
    """The consumption of one counter, hour by hour without holes; NaN where it is not known."""

    point: int
    name: str
    unit: str
    item_code: str | None
    resolution: float
    hour_ms: NDArray[np.int64]
    value: NDArray[np.float64]

    @property
    def end_ms(self) -> int:
        """The end of the last hour that is known."""
        return int(self.hour_ms[-1]) + HOUR_MS

    def is_still(self) -> NDArray[np.bool_]:
        """Hours in which the counter has not moved by half of its last digit."""
        return np.nan_to_num(self.value, nan=np.inf) < self.resolution / 2


@dataclass(frozen=True, slots=True)
class Device:
    """A device and the counters by which it is judged; those without any hour are left out."""

    site_id: int
    number: int
    name: str
    device_id: str
    gateway_id: str
    zone: ZoneInfo
    counters: tuple[Hours, ...]

    @property
    def end_ms(self) -> int | None:
        """Up to when anything is known of its counters."""
        return max((hours.end_ms for hours in self.counters), default=None)

    def facts(self) -> dict[str, Any]:
        """What names it in a finding."""
        return {"device": self.name, "device_id": self.device_id, "gateway_id": self.gateway_id}

    def local_s(self, hours: Hours) -> NDArray[np.int64]:
        """The hours on the building's own clock, by which people live.

        One offset for all, that of the last hour: where clocks change, the series stays even.
        """
        offset = datetime.fromtimestamp(hours.end_ms / 1000, UTC).astimezone(self.zone).utcoffset()
        return hours.hour_ms // 1000 + (round(offset.total_seconds()) if offset is not None else 0)

    def day_of(self, at_ms: int) -> date:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone).date()


async def load_device(connection: AsyncConnection, site_id: int, number: int, *, now_ms: int) -> Device:
    """Its newest `HISTORY_MS`, as far as the hours are over."""
    statement = (
        select(device, site.c.timezone)
        .join_from(device, site, site.c.id == device.c.site_id)
        .where(device.c.site_id == site_id, device.c.id == number)
    )
    row = (await connection.execute(statement)).one()
    found = [
        await _load_hours(connection, site_id, counter, now_ms=now_ms)
        for counter in await _main_counters(connection, site_id, number)
    ]
    return Device(
        site_id=site_id,
        number=number,
        name=row.name,
        device_id=row.device_id,
        gateway_id=row.gateway_id,
        zone=ZoneInfo(row.timezone),
        counters=tuple(hours for hours in found if hours is not None),
    )


async def _main_counters(connection: AsyncConnection, site_id: int, number: int) -> Sequence[Row[Any]]:
    """Those that count for an energy item; a meter's phases and tariffs do not. Else all of energy."""
    statement = (
        select(point)
        .where(point.c.site_id == site_id, point.c.device == number, point.c.kind == "counter")
        .where(point.c.unit.in_(ENERGY_UNITS))
        .order_by(point.c.id)
    )
    counters = (await connection.execute(statement)).all()
    return [row for row in counters if row.item_code] or counters


async def _load_hours(
    connection: AsyncConnection, site_id: int, counter: Row[Any], *, now_ms: int
) -> Hours | None:
    hour = consumption_hour
    complete = (
        hour.c.site_id == site_id,
        hour.c.point_id == counter.id,
        hour.c.hour_ms <= now_ms - HOUR_MS,
        hour.c.state == "measured",
        hour.c.coverage >= ENOUGH_COVERAGE,
    )
    newest = (await connection.execute(select(func.max(hour.c.hour_ms)).where(and_(*complete)))).scalar_one()
    if newest is None:
        return None
    statement = (
        select(hour.c.hour_ms, hour.c.value / hour.c.coverage)
        .where(*complete, hour.c.hour_ms > newest - HISTORY_MS)
        .order_by(hour.c.hour_ms)
    )
    rows = (await connection.execute(statement)).all()
    known = np.array([row[0] for row in rows], dtype=np.int64)
    hours = np.arange(known[0], newest + HOUR_MS, HOUR_MS, dtype=np.int64)
    values = np.full(len(hours), np.nan)
    values[(known - known[0]) // HOUR_MS] = [row[1] for row in rows]
    return Hours(
        point=counter.id,
        name=counter.name,
        unit=counter.unit,
        item_code=counter.item_code,
        resolution=10.0**-counter.decimals,
        hour_ms=hours,
        value=values,
    )
