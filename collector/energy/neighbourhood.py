"""Finds the readings that decide about hours, and the hours that readings decide about."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import bindparam, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import reading
from models.energy import CONTEXT_READINGS, Sample
from models.reading import Quality
from models.times import HOUR_MS, hour_of

_USABLE: Final = select(reading.c.measured_ms, reading.c.value).where(
    reading.c.site_id == bindparam("site_id"),
    reading.c.point_id == bindparam("point_id"),
    reading.c.quality == int(Quality.GOOD),
    reading.c.value.is_not(None),
)
_BEFORE: Final = (
    _USABLE.where(reading.c.measured_ms < bindparam("start_ms"))
    .order_by(reading.c.measured_ms.desc())
    .limit(CONTEXT_READINGS)
    .subquery()
)
_WITHIN: Final = _USABLE.where(
    reading.c.measured_ms >= bindparam("start_ms"), reading.c.measured_ms < bindparam("end_ms")
)
_AFTER: Final = (
    _USABLE.where(reading.c.measured_ms >= bindparam("end_ms"))
    .order_by(reading.c.measured_ms)
    .limit(CONTEXT_READINGS)
    .subquery()
)
_BESIDE: Final = union_all(select(_BEFORE.c.measured_ms), select(_AFTER.c.measured_ms))
_AROUND: Final = union_all(select(_BEFORE), _WITHIN, select(_AFTER))


async def affected_spans(
    connection: AsyncConnection, site_id: int, point_id: int, hours_ms: Iterable[int]
) -> list[tuple[int, int]]:
    """The hours that readings in `hours_ms` (in order) may have changed, as spans that do not touch."""
    spans: list[tuple[int, int]] = []
    for first_ms, end_ms in _runs(hours_ms):
        where = {"site_id": site_id, "point_id": point_id, "start_ms": first_ms, "end_ms": end_ms}
        beside = (await connection.execute(_BESIDE, where)).scalars().all()
        from_ms = hour_of(min([first_ms, *beside]))
        to_ms = hour_of(max([end_ms - 1, *beside])) + HOUR_MS
        if spans and from_ms <= spans[-1][1]:
            from_ms, to_ms = spans[-1][0], max(to_ms, spans[-1][1])
            spans.pop()
        spans.append((from_ms, to_ms))
    return spans


async def samples_for(
    connection: AsyncConnection, site_id: int, point_id: int, start_ms: int, end_ms: int
) -> list[Sample]:
    """All that decides about the hours of a span."""
    where: dict[str, Any] = {
        "site_id": site_id,
        "point_id": point_id,
        "start_ms": start_ms,
        "end_ms": end_ms,
    }
    return [Sample(*row) for row in await connection.execute(_AROUND, where)]


def _runs(hours_ms: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Beginning and end of each run of consecutive hours."""
    run: tuple[int, int] | None = None
    for hour_ms in hours_ms:
        if run is not None and hour_ms == run[1]:
            run = run[0], hour_ms + HOUR_MS
            continue
        if run is not None:
            yield run
        run = hour_ms, hour_ms + HOUR_MS
    if run is not None:
        yield run
