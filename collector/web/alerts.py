"""What the alert pages show: titles and details in words, what an alert is about, and who did what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import COLLECTOR, RECOVERED
from collector.api.access import Caller
from collector.store.schema import alert, alert_change, device, gateway, point
from collector.web.render import Words

HISTORY_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """The thing an alert is about, and where its page is."""

    name: str
    url: str | None
    point_id: int | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str


def title(row: Any, words: Words) -> str:
    """The alert's title in the reader's language; its condition when the detector gave none."""
    return _spoken(row.data, "title", words) or str(row.condition)


def body(row: Any, words: Words) -> str:
    return _spoken(row.data, "text", words)


def _spoken(data: Mapping[str, Any], key: str, words: Words) -> str:
    said = data.get(key)
    if isinstance(said, Mapping):
        said = said.get(words.language)
    return said if isinstance(said, str) else ""


def facts(data: Mapping[str, Any], words: Words) -> list[Fact]:
    """What was expected, what was seen, and what the difference costs, as far as the detector knows."""
    unit = str(data.get("unit", ""))
    found = []
    for key, unit_of in (
        ("expected", unit),
        ("seen", unit),
        ("excess", unit),
        ("before", unit),
        ("after", unit),
        ("kgce", "kgce"),
        ("co2", "kg"),
        ("cost", str(data.get("currency", ""))),
    ):
        value = data.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(Fact(words(f"alert.{key}"), words.amount(value, unit_of)))
    return found


def who(by: str, words: Words) -> str:
    """Who changed an alert: a person's token by its name, the program in words."""
    if by == RECOVERED:
        return words("alert.recovered")
    return words("alert.system") if by == COLLECTOR else by


async def subject(connection: AsyncConnection, caller: Caller, row: Any, words: Words) -> Subject:
    """What the condition of an alert is about: "stuck:point:12", "silent:gateway:gw-…"."""
    kind, _, name = row.condition.partition(":")[2].partition(":")
    site = caller.sites[row.site_id]
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else None
    if kind == "device" and number is not None:
        named = select(device.c.name).where(device.c.site_id == row.site_id, device.c.id == number)
        device_name = (await connection.execute(named)).scalar_one_or_none()
        if device_name is not None:
            return Subject(device_name, f"/devices/{site.code}/{number}")
    if kind == "point" and number is not None:
        statement = (
            select(point.c.name, device.c.id, device.c.name.label("device_name"))
            .join_from(
                point, device, and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device)
            )
            .where(point.c.site_id == row.site_id, point.c.id == number)
        )
        found = (await connection.execute(statement)).one_or_none()
        if found is not None:
            url = f"/devices/{site.code}/{found.id}?point={number}"
            return Subject(f"{found.device_name} · {words.point(found.name)}", url, number)
    if kind == "gateway":
        named = select(gateway.c.name).where(gateway.c.site_id == row.site_id, gateway.c.id == name)
        gateway_name = (await connection.execute(named)).scalar_one_or_none()
        if gateway_name is not None:
            return Subject(gateway_name, None)
    return Subject(row.condition, None)


async def one_alert(
    connection: AsyncConnection, caller: Caller, site_id: int, alert_id: int
) -> Row[Any] | None:
    statement = select(alert).where(
        caller.owns(alert.c.site_id), alert.c.site_id == site_id, alert.c.id == alert_id
    )
    return (await connection.execute(statement)).one_or_none()


async def history(connection: AsyncConnection, caller: Caller, row: Any) -> Sequence[Row[Any]]:
    statement = (
        select(alert_change)
        .where(caller.owns(alert_change.c.site_id))
        .where(alert_change.c.site_id == row.site_id, alert_change.c.alert_id == row.id)
        .order_by(alert_change.c.id.desc())
        .limit(HISTORY_MAX)
    )
    return (await connection.execute(statement)).all()
