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
from collector.web.texts import has_text

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
    note: str = ""  # where it comes from


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
    sources = dict(part.partition(" ")[::2] for part in str(data.get("factors", "")).split("; "))
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
        value = _number(data, key)
        if value is not None:
            found.append(Fact(words(f"alert.{key}"), words.amount(value, unit_of), sources.get(key, "")))
    return found


def _number(data: Mapping[str, Any], key: str) -> float | None:
    value = data.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def detector(name: str, words: Words) -> str:
    key = f"detector.{name}"
    return words(key) if has_text(key) else name


def who(by: str, words: Words) -> str:
    """Who changed an alert: a person's token by its name, the program in words."""
    if by == RECOVERED:
        return words("alert.recovered")
    return words("alert.system") if by == COLLECTOR else by


async def subject(connection: AsyncConnection, caller: Caller, row: Any, words: Words) -> Subject:
    """What the condition of an alert is about: "stuck:device:3", "silent:gateway:gw-…"."""
    kind, _, name = row.condition.partition(":")[2].partition(":")
    site = caller.sites[row.site_id]
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else None
    if kind in ("device", "point") and number is not None:
        named = row.data.get("point")
        about = (
            device.c.id == number
            if kind == "device"
            else device.c.id.in_(
                select(point.c.device).where(point.c.site_id == row.site_id, point.c.id == number)
            )
        )
        is_meant = point.c.name == named if kind == "device" else point.c.id == number
        statement = (
            select(device.c.id, device.c.name, point.c.id.label("point_id"), point.c.name.label("point_name"))
            .join_from(
                device,
                point,
                and_(point.c.site_id == device.c.site_id, point.c.device == device.c.id, is_meant),
                isouter=True,
            )
            .where(device.c.site_id == row.site_id, about)
        )
        found = (await connection.execute(statement)).one_or_none()
        if found is not None and found.point_id is None:
            return Subject(found.name, f"/devices/{site.code}/{found.id}")
        if found is not None:
            url = f"/devices/{site.code}/{found.id}?point={found.point_id}"
            return Subject(f"{found.name} · {words.point(found.point_name)}", url, found.point_id)
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
