"""Computes the consumption of the hours that readings have touched, and of no others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.energy.notices import DETECTOR, as_found
from collector.insight.findings import keep_findings
from collector.store.engine import Store
from collector.store.schema import consumption_hour, device, dirty_hour, point, reading, unscored
from models.energy import (
    CONTEXT_READINGS,
    CounterFacts,
    HourConsumption,
    Notice,
    Sample,
    consumption_by_hour,
)
from models.reading import Quality
from models.times import HOUR_MS, Clock, hour_of

CHUNK: Final = 200
"""Marks in one transaction: its writing takes some milliseconds, in which no batch can be stored."""

_KEY: Final = (dirty_hour.c.site_id, dirty_hour.c.point_id, dirty_hour.c.hour_ms)


@dataclass(slots=True)
class _Span:
    """Hours of one point that were computed together."""

    start_ms: int
    end_ms: int
    changed: list[HourConsumption]
    notices: list[Notice]


@dataclass(slots=True)
class _Work:
    """One counter, its marks and what came of them."""

    counter: Row[Any]
    marks: list[Row[Any]]
    spans: list[_Span] = field(default_factory=list)


class EnergyJob:
    """Only a mark whose hour was computed as it now stands is cleared.

    Whatever is stored meanwhile marks its hour anew. Killed at any moment the marks are still there, and
    computing an hour twice gives the same hour.
    """

    def __init__(self, store: Store, clock: Clock, *, chunk: int = CHUNK) -> None:
        self._store = store
        self._clock = clock
        self._chunk = chunk

    async def run_once(self) -> int:
        """Go through all marks once, in chunks; how many were handled."""
        await self._clear_others()
        handled, after = 0, (0, 0, 0)
        while True:
            work, marks = await self._computed(after)
            if work:
                async with self._store.write() as connection:
                    for counter in work:
                        await self._keep(connection, counter)
            handled += len(marks)
            if len(marks) < self._chunk:
                return handled
            after = (marks[-1].site_id, marks[-1].point_id, marks[-1].hour_ms)

    async def _clear_others(self) -> None:
        of_others = tuple_(dirty_hour.c.site_id, dirty_hour.c.point_id).in_(_others())
        async with self._store.read() as connection:
            if not (await connection.execute(select(select(1).where(of_others).exists()))).scalar_one():
                return
        async with self._store.write() as connection:
            await connection.execute(delete(dirty_hour).where(of_others))

    async def _computed(self, after: tuple[int, int, int]) -> tuple[list[_Work], Sequence[Row[Any]]]:
        """The next chunk of marks, and what came of them."""
        work = []
        async with self._store.read() as connection:
            marks = await self._marks(connection, after)
            for _, same_point in groupby(marks, key=lambda mark: (mark.site_id, mark.point_id)):
                of_point = list(same_point)
                counter = _Work(of_point[0], of_point)
                for start_ms, end_ms in await _affected(connection, counter):
                    counter.spans.append(await _compute(connection, counter.counter, start_ms, end_ms))
                work.append(counter)
        return work, marks

    async def _marks(self, connection: AsyncConnection, after: tuple[int, int, int]) -> Sequence[Row[Any]]:
        statement = (
            select(
                dirty_hour,
                device.c.name.label("device_name"),
                device.c.period_s,
                point.c.name,
                point.c.unit,
                point.c.decimals,
                point.c.modulus,
                point.c.max_rate_per_h,
            )
            .join_from(
                dirty_hour,
                point,
                and_(point.c.site_id == dirty_hour.c.site_id, point.c.id == dirty_hour.c.point_id),
            )
            .join(device, and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device))
            .where(point.c.kind == "counter", tuple_(*_KEY) > after)
            .order_by(*_KEY)
            .limit(self._chunk)
        )
        return (await connection.execute(statement)).all()

    async def _keep(self, connection: AsyncConnection, work: _Work) -> None:
        site_id, point_id = work.counter.site_id, work.counter.point_id
        now_ms = self._clock.now_ms()
        changed = {hour.hour_ms: hour for span in work.spans for hour in span.changed}
        if changed:
            await _keep_hours(connection, site_id, point_id, changed.values(), now_ms)
            await _mark_unscored(connection, site_id, point_id, min(changed))
        for span in work.spans:
            about = {
                "device": work.counter.device_name,
                "point": work.counter.name,
                "unit": work.counter.unit,
                "decimals": work.counter.decimals,
            }
            await keep_findings(
                connection,
                site_id,
                DETECTOR,
                f"point:{point_id}",
                [as_found(notice, **about) for notice in span.notices],
                from_ms=span.start_ms,
                to_ms=span.end_ms,
                now_ms=now_ms,
            )
        seen = [(site_id, point_id, mark.hour_ms, mark.marked_no) for mark in work.marks]
        await connection.execute(delete(dirty_hour).where(tuple_(*_KEY, dirty_hour.c.marked_no).in_(seen)))


def _others() -> Any:
    """Points that are known to be no counters: nothing is to be computed of them.

    A point that the gateway has not described yet may still turn out to be one, and keeps its marks.
    """
    described = and_(device.c.site_id == point.c.site_id, device.c.id == point.c.device)
    return (
        select(point.c.site_id, point.c.id)
        .join_from(point, device, described)
        .where(point.c.kind != "counter", device.c.profile != "")
    )


async def _affected(connection: AsyncConnection, work: _Work) -> list[tuple[int, int]]:
    """The hours that the readings of the marked ones may have changed, as spans that do not touch."""
    spans: list[tuple[int, int]] = []
    for first_ms, last_ms in _runs(mark.hour_ms for mark in work.marks):
        before = await _beside(connection, work.counter, before_ms=first_ms)
        after = await _beside(connection, work.counter, from_ms=last_ms + HOUR_MS)
        start_ms = hour_of(before[0].measured_ms) if before else first_ms
        end_ms = hour_of(after[-1].measured_ms if after else last_ms) + HOUR_MS
        if spans and start_ms <= spans[-1][1]:
            start_ms, end_ms = spans[-1][0], max(end_ms, spans[-1][1])
            spans.pop()
        spans.append((start_ms, end_ms))
    return spans


def _runs(hours_ms: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive hours."""
    first_ms = last_ms = None
    for hour_ms in hours_ms:
        if first_ms is None or last_ms is None:
            first_ms = hour_ms
        elif hour_ms != last_ms + HOUR_MS:
            yield first_ms, last_ms
            first_ms = hour_ms
        last_ms = hour_ms
    if first_ms is not None and last_ms is not None:
        yield first_ms, last_ms


async def _compute(connection: AsyncConnection, counter: Row[Any], start_ms: int, end_ms: int) -> _Span:
    samples = [
        *await _beside(connection, counter, before_ms=start_ms),
        *await _readings(connection, counter, start_ms, end_ms),
        *await _beside(connection, counter, from_ms=end_ms),
    ]
    facts = CounterFacts(
        modulus=counter.modulus,
        max_rate_per_h=counter.max_rate_per_h,
        decimals=counter.decimals,
        period_s=counter.period_s,
    )
    ledger = consumption_by_hour(samples, facts, start_ms=start_ms, end_ms=end_ms)
    hour = consumption_hour
    statement = select(hour.c.hour_ms, hour.c.value, hour.c.coverage, hour.c.state).where(
        hour.c.site_id == counter.site_id,
        hour.c.point_id == counter.point_id,
        hour.c.hour_ms >= start_ms,
        hour.c.hour_ms < end_ms,
    )
    known = {row.hour_ms: (row.value, row.coverage, row.state) for row in await connection.execute(statement)}
    changed = [
        hour for hour in ledger.hours if known.get(hour.hour_ms) != (hour.value, hour.coverage, hour.state)
    ]
    return _Span(start_ms, end_ms, changed, ledger.notices)


def _usable(counter: Row[Any]) -> Any:
    return select(reading.c.measured_ms, reading.c.value).where(
        reading.c.site_id == counter.site_id,
        reading.c.point_id == counter.point_id,
        reading.c.quality == Quality.GOOD,
        reading.c.value.is_not(None),
    )


async def _readings(
    connection: AsyncConnection, counter: Row[Any], start_ms: int, end_ms: int
) -> list[Sample]:
    statement = _usable(counter).where(reading.c.measured_ms >= start_ms, reading.c.measured_ms < end_ms)
    return [Sample(*row) for row in await connection.execute(statement)]


async def _beside(
    connection: AsyncConnection,
    counter: Row[Any],
    *,
    before_ms: int | None = None,
    from_ms: int | None = None,
) -> list[Sample]:
    """The usable readings next to a time, in order: as many as decide about what happened there."""
    statement = _usable(counter).limit(CONTEXT_READINGS)
    if before_ms is not None:
        statement = statement.where(reading.c.measured_ms < before_ms)
        rows = await connection.execute(statement.order_by(reading.c.measured_ms.desc()))
        return [Sample(*row) for row in rows][::-1]
    statement = statement.where(reading.c.measured_ms >= from_ms).order_by(reading.c.measured_ms)
    return [Sample(*row) for row in await connection.execute(statement)]


async def _keep_hours(
    connection: AsyncConnection, site_id: int, point_id: int, hours: Iterable[HourConsumption], now_ms: int
) -> None:
    statement = insert(consumption_hour)
    new = statement.excluded
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["site_id", "point_id", "hour_ms"],
            set_={
                "value": new.value,
                "coverage": new.coverage,
                "state": new.state,
                "computed_ms": new.computed_ms,
            },
        ),
        [
            {
                "site_id": site_id,
                "point_id": point_id,
                "hour_ms": hour.hour_ms,
                "value": hour.value,
                "coverage": hour.coverage,
                "state": hour.state.value,
                "computed_ms": now_ms,
            }
            for hour in hours
        ],
    )


async def _mark_unscored(connection: AsyncConnection, site_id: int, point_id: int, from_ms: int) -> None:
    """In the same transaction as the hours, so that the detectors miss none of them."""
    statement = insert(unscored).values(site_id=site_id, point_id=point_id, from_ms=from_ms, marked_no=1)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["site_id", "point_id"],
            set_={
                "from_ms": func.min(unscored.c.from_ms, statement.excluded.from_ms),
                "marked_no": unscored.c.marked_no + 1,
            },
        )
    )
