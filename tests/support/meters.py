"""Meters in the collector's database: what the intake would have stored of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or

from collector.store import schema
from collector.store.engine import Store
from models.energy import Sample
from models.times import hour_of
from tests.support.collector import NOW_MS


@dataclass(frozen=True)
class Point:
    """One point of one device."""

    site_id: int
    device: int
    id: int


async def add_gateway(store: Store, site_id: int, gateway_id: str = "gw-1", **facts: object) -> str:
    values = {
        "id": gateway_id,
        "site_id": site_id,
        "name": "Plant room",
        "state": "active",
        "seal_key": b"",
        "enrolled_ms": NOW_MS,
    }
    async with store.write() as connection:
        await connection.execute(insert(schema.gateway).values(values | facts))
    return gateway_id


async def add_device(
    store: Store, site_id: int, name: str = "1号楼总表", *, gateway_id: str = "gw-1", period_s: float = 900
) -> int:
    async with store.write() as connection:
        highest = select(func.coalesce(func.max(schema.device.c.id), 0))
        number = (await connection.execute(highest)).scalar_one() + 1
        await connection.execute(
            insert(schema.device).values(
                site_id=site_id,
                id=number,
                gateway_id=gateway_id,
                device_id=f"meter-{number:02}",
                name=name,
                profile="test",
                profile_version="1",
                period_s=period_s,
            )
        )
    return int(number)


async def add_point(
    store: Store, site_id: int, device: int, name: str = "energy_import_kwh", **facts: object
) -> Point:
    values = {"kind": "counter", "unit": "kWh", "decimals": 2, "item_code": "01000"} | facts
    async with store.write() as connection:
        highest = select(func.coalesce(func.max(schema.point.c.id), 0))
        number = (await connection.execute(highest)).scalar_one() + 1
        await connection.execute(
            insert(schema.point).values(
                {"site_id": site_id, "id": number, "device": device, "name": name} | values
            )
        )
    return Point(site_id, device, int(number))


async def add_readings(store: Store, point: Point, samples: Iterable[Sample]) -> None:
    """Store readings as the intake does: none twice, each marks its hour, the newest is the latest."""
    rows = [
        {
            "site_id": point.site_id,
            "point_id": point.id,
            "measured_ms": ms,
            "received_ms": ms,
            "value": value,
            "quality": int(quality),
            "reason": 0,
            "epoch_id": 1,
            "seq": 1,
        }
        for ms, value, quality in samples
    ]
    hours = {hour_of(int(str(row["measured_ms"]))) for row in rows}
    mark = insert_or(schema.dirty_hour)
    latest = insert_or(schema.latest)
    async with store.write() as connection:
        await connection.execute(insert_or(schema.reading).on_conflict_do_nothing(), rows)
        await connection.execute(
            mark.on_conflict_do_update(set_={"marked_no": schema.dirty_hour.c.marked_no + 1}),
            [
                {"site_id": point.site_id, "point_id": point.id, "hour_ms": hour, "marked_no": 1}
                for hour in sorted(hours)
            ],
        )
        newest = max(rows, key=lambda row: int(str(row["measured_ms"])))
        columns = ("measured_ms", "received_ms", "value", "quality", "reason")
        await connection.execute(
            latest.on_conflict_do_update(
                set_={name: latest.excluded[name] for name in columns},
                where=latest.excluded.measured_ms > schema.latest.c.measured_ms,
            ),
            {name: newest[name] for name in ("site_id", "point_id", *columns)} | {"stored_ms": NOW_MS},
        )
