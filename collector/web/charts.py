"""The data that the charts of the pages draw, with every word and zone in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Row, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.api.access import Site
from collector.api.problems import not_found
from collector.store.schema import consumption_hour, device, point, reading
from collector.web.overview import midnight
from collector.web.render import Words, language_of
from collector.web.session import Viewer
from models.reading import Quality
from models.times import DAY_MS, HOUR_MS, hour_of

router = APIRouter()

ELECTRICITY: Final = "01000"
_BINS: Final = 1500  # a wide screen; each shows at most its lowest and its highest reading
_MISSED_PERIODS: Final = 3  # a line is broken where this many readings are missing
_STATES: Final = ("measured", "partial", "estimated", "suspect", "missing", "pending")
_DOUBT: Final = ("missing", "measured", "estimated", "suspect")  # a sum is as doubtful as its worst part
_WHOLE: Final = 0.995  # coverage that a person calls whole: a reading or two late in an hour

SitePath = Annotated[str, Path(max_length=100)]
PointPath = Annotated[int, Path(ge=1, le=2**31)]
Hours = Annotated[int, Query(ge=1, le=24 * 31)]
End = Annotated[int | None, Query(ge=0, le=2**52, description="milliseconds; None: now")]


@dataclass(slots=True)
class Hour:
    """One bar: its value, how much of it was seen, and the word for that."""

    value: float | None = None
    coverage: float = 0.0
    state: str = ""  # "": still to come


@router.get("/charts/consumption/{site}/{point_id}")
async def consumption(
    request: Request, caller: Viewer, site: SitePath, point_id: PointPath, hours: Hours = 24, end: End = None
) -> dict[str, Any]:
    owner = caller.site(site)
    now_ms = request.app.state.clock.now_ms()
    to_ms = min(hour_of(end if end is not None else now_ms) + HOUR_MS, hour_of(now_ms) + HOUR_MS)
    from_ms = to_ms - hours * HOUR_MS
    table = consumption_hour
    statement = select(table.c.hour_ms, table.c.value, table.c.coverage, table.c.state).where(
        table.c.site_id == owner.id,
        table.c.point_id == point_id,
        table.c.hour_ms >= from_ms,
        table.c.hour_ms < to_ms,
    )
    async with request.app.state.store.read() as connection:
        about = await _point(connection, owner, point_id)
        rows = (await connection.execute(statement)).all()
    found = {row.hour_ms: Hour(row.value, row.coverage, _bar_state(row)) for row in rows}
    return _bars(request, owner, about.unit, found, range(from_ms, to_ms, HOUR_MS))


@router.get("/charts/today/{site}")
async def today(request: Request, caller: Viewer, site: SitePath) -> dict[str, Any]:
    """The electricity of all meters of a site for each hour since its midnight."""
    owner = caller.site(site)
    now_ms = request.app.state.clock.now_ms()
    from_ms = midnight(now_ms, owner.timezone)
    to_ms = midnight(from_ms + DAY_MS + 2 * HOUR_MS, owner.timezone)  # days of 23 and 25 hours exist
    table = consumption_hour
    statement = (
        select(table.c.hour_ms, table.c.value, table.c.coverage, table.c.state)
        .join_from(table, point, and_(point.c.site_id == table.c.site_id, point.c.id == table.c.point_id))
        .where(table.c.site_id == owner.id, point.c.item_code == ELECTRICITY, point.c.unit == "kWh")
        .where(table.c.hour_ms >= from_ms, table.c.hour_ms < to_ms)
    )
    counted = select(func.count()).where(
        point.c.site_id == owner.id, point.c.item_code == ELECTRICITY, point.c.unit == "kWh"
    )
    async with request.app.state.store.read() as connection:
        rows = (await connection.execute(statement)).all()
        points = (await connection.execute(counted)).scalar_one()
    return _bars(request, owner, "kWh", _summed(rows, points), range(from_ms, to_ms, HOUR_MS))


@router.get("/charts/readings/{site}/{point_id}")
async def readings(
    request: Request, caller: Viewer, site: SitePath, point_id: PointPath, hours: Hours = 24, end: End = None
) -> dict[str, Any]:
    """A line with gaps where nothing was measured; dense stretches as their lowest and highest reading."""
    owner = caller.site(site)
    words = Words(language_of(request), request.app.state.clock.now_ms())
    to_ms = min(end if end is not None else words.now_ms, words.now_ms)
    from_ms = to_ms - hours * HOUR_MS
    width_ms = max(1, (to_ms - from_ms) // _BINS)
    number = ((reading.c.measured_ms - from_ms) // width_ms).label("bin")
    statement = (
        select(
            func.min(reading.c.measured_ms).label("first_ms"),
            func.max(reading.c.measured_ms).label("last_ms"),
            func.min(reading.c.value).label("lowest"),
            func.max(reading.c.value).label("highest"),
            func.max(case((reading.c.quality == Quality.SUSPECT, 1), else_=0)).label("suspect"),
        )
        .where(reading.c.site_id == owner.id, reading.c.point_id == point_id)
        .where(reading.c.measured_ms >= from_ms, reading.c.measured_ms <= to_ms)
        .group_by(number)
        .order_by(number)
    )
    async with request.app.state.store.read() as connection:
        about = await _point(connection, owner, point_id)
        rows = (await connection.execute(statement)).all()
    gap_ms = max(3 * width_ms, _MISSED_PERIODS * 1000 * (about.period_s or 60))
    line = _line(rows, gap_ms)
    return {
        "kind": "line",
        "zone": owner.timezone,
        "unit": words.unit(about.unit),
        "decimals": about.decimals,
        "from": from_ms / 1000,
        "to": to_ms / 1000,
        "times": [ms / 1000 for ms in line.times_ms],
        "values": line.values,
        "suspect": line.suspect,
        "words": {
            "time": words("chart.hour"),
            "value": words("device.value"),
            "good": words("quality.good"),
            "suspect": words("quality.suspect"),
            "empty": words("empty.chart"),
            "table": words("chart.table"),
        },
    }


@dataclass(slots=True)
class Line:
    """A line as a chart draws it; None breaks it."""

    times_ms: list[int]
    values: list[float | None]
    suspect: list[float | None]


def _line(rows: Iterable[Any], gap_ms: float) -> Line:
    line = Line([], [], [])

    def add(ms: int, value: float | None, suspect: bool) -> None:
        line.times_ms.append(ms)
        line.values.append(value)
        line.suspect.append(value if suspect else None)

    before: int | None = None
    for row in rows:
        if before is not None and row.first_ms - before > gap_ms:
            add(before + 1, None, False)
        add(row.first_ms, row.lowest, bool(row.suspect))
        if row.last_ms != row.first_ms and row.highest != row.lowest:
            add(row.last_ms, row.highest, bool(row.suspect))
        before = row.last_ms
    return line


async def _point(connection: AsyncConnection, owner: Site, point_id: int) -> Any:
    statement = (
        select(point.c.unit, point.c.decimals, device.c.period_s)
        .join_from(point, device, and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device))
        .where(point.c.site_id == owner.id, point.c.id == point_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise not_found(f"Site {owner.code} has no point {point_id}.", "The device page links to its points.")
    return row


def _bars(
    request: Request, owner: Site, unit: str, found: Mapping[int, Hour], hours: Iterable[int]
) -> dict[str, Any]:
    """A bar for each hour of the grid: an hour without a row is a gap, never a zero."""
    words = Words(language_of(request), request.app.state.clock.now_ms())
    bars = []
    for hour_ms in hours:
        to_come = Hour(state="" if hour_ms > words.now_ms - HOUR_MS else "pending")
        bars.append((hour_ms, found.get(hour_ms, to_come)))
    total = [hour.value for _, hour in bars if hour.value is not None]
    return {
        "kind": "bars",
        "zone": owner.timezone,
        "unit": unit,
        "decimals": 2,
        "times": [hour_ms // 1000 for hour_ms, _ in bars],
        "values": [hour.value for _, hour in bars],
        "coverage": [round(hour.coverage, 4) for _, hour in bars],
        "states": [hour.state for _, hour in bars],
        "total": words("chart.total", total=words.amount(sum(total), unit)) if total else "",
        "words": {
            **{state: words(f"state.{state}") for state in _STATES},
            "time": words("chart.hour"),
            "value": words("device.value"),
            "coverage": words("chart.coverage"),
            "state": words("chart.state"),
            "empty": words("empty.chart"),
            "table": words("chart.table"),
        },
    }


def _summed(rows: Iterable[Row[Any]], points: int) -> dict[int, Hour]:
    """One bar for all points: what is missing of one lowers the coverage and is no zero."""
    found: dict[int, Hour] = {}
    for row in rows:
        hour = found.setdefault(row.hour_ms, Hour(state="missing"))
        hour.coverage += row.coverage / max(1, points)
        if row.value is not None:
            hour.value = (hour.value or 0.0) + row.value
        if _DOUBT.index(row.state) > _DOUBT.index(hour.state):
            hour.state = row.state
    for hour in found.values():
        if hour.state == "measured" and hour.coverage < _WHOLE:
            hour.state = "partial"
    return found


def _bar_state(row: Row[Any]) -> str:
    return "partial" if row.state == "measured" and row.coverage < _WHOLE else str(row.state)
