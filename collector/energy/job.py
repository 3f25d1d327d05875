"""Computes the consumption of the hours that readings have touched, and of no others."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, Text, and_, bindparam, cast, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.energy.neighbourhood import affected_spans, samples_for
from collector.energy.notices import DETECTOR, as_found
from collector.insight.findings import keep_findings
from collector.store.engine import Store
from collector.store.schema import consumption_hour, device, dirty_hour, finding, point, unscored
from models.energy import CounterFacts, HourConsumption, Notice, consumption_by_hour
from models.times import Clock

CHUNK: Final = 200
"""Marks in one transaction: its writing takes some milliseconds, in which no batch can be stored."""

_KEY: Final = (dirty_hour.c.site_id, dirty_hour.c.point_id, dirty_hour.c.hour_ms)


@dataclass(slots=True)
class _Computed:
    """Hours of one counter that were computed together, and what differs from what is stored."""

    counter: Row[Any]
    start_ms: int
    end_ms: int
    changed: list[HourConsumption]
    notices: list[Notice]
    has_findings: bool


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
            async with self._store.read() as connection:
                marks = await self._marks(connection, after)
                computed = await _compute(connection, marks)
            if marks:
                async with self._store.write() as connection:
                    await _keep(connection, computed, marks, self._clock.now_ms())
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

    async def _marks(self, connection: AsyncConnection, after: tuple[int, int, int]) -> Sequence[Row[Any]]:
        has_findings = (
            select(1)
            .where(
                finding.c.site_id == dirty_hour.c.site_id,
                finding.c.detector == DETECTOR,
                finding.c.subject == "point:" + cast(dirty_hour.c.point_id, Text),
            )
            .exists()
        )
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
                has_findings.label("has_findings"),
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


async def _compute(connection: AsyncConnection, marks: Sequence[Row[Any]]) -> list[_Computed]:
    """Compute every hour that the marked ones may have changed."""
    computed = []
    for (site_id, point_id), of_point in groupby(marks, key=lambda mark: (mark.site_id, mark.point_id)):
        same = list(of_point)
        counter = same[0]
        facts = CounterFacts(
            modulus=counter.modulus,
            max_rate_per_h=counter.max_rate_per_h,
            decimals=counter.decimals,
            period_s=counter.period_s,
        )
        for start_ms, end_ms in await affected_spans(
            connection, site_id, point_id, (mark.hour_ms for mark in same)
        ):
            samples = await samples_for(connection, site_id, point_id, start_ms, end_ms)
            ledger = consumption_by_hour(samples, facts, start_ms=start_ms, end_ms=end_ms)
            known = await _known_hours(connection, site_id, point_id, start_ms, end_ms)
            changed = [hour for hour in ledger.hours if known.get(hour.hour_ms) != _facts(hour)]
            computed.append(
                _Computed(counter, start_ms, end_ms, changed, ledger.notices, counter.has_findings)
            )
    return computed


def _facts(hour: HourConsumption) -> tuple[float | None, float, str]:
    return hour.value, hour.coverage, hour.state.value


async def _known_hours(
    connection: AsyncConnection, site_id: int, point_id: int, start_ms: int, end_ms: int
) -> dict[int, tuple[float | None, float, str]]:
    hour = consumption_hour
    statement = select(hour.c.hour_ms, hour.c.value, hour.c.coverage, hour.c.state).where(
        hour.c.site_id == site_id,
        hour.c.point_id == point_id,
        hour.c.hour_ms >= start_ms,
        hour.c.hour_ms < end_ms,
    )
    rows = await connection.execute(statement)
    return {hour_ms: (value, coverage, state) for hour_ms, value, coverage, state in rows}


async def _keep(
    connection: AsyncConnection, computed: list[_Computed], marks: Sequence[Row[Any]], now_ms: int
) -> None:
    hours = [
        {
            "site_id": part.counter.site_id,
            "point_id": part.counter.point_id,
            "hour_ms": hour.hour_ms,
            "value": hour.value,
            "coverage": hour.coverage,
            "state": hour.state.value,
            "computed_ms": now_ms,
        }
        for part in computed
        for hour in part.changed
    ]
    if hours:
        await connection.execute(_KEEP_HOURS, hours)
    # In the same transaction as the hours, so that the detectors miss none of them.
    unscored_points = [
        {
            "site_id": part.counter.site_id,
            "point_id": part.counter.point_id,
            "from_ms": part.changed[0].hour_ms,
            "marked_no": 1,
        }
        for part in computed
        if part.changed
    ]
    if unscored_points:
        await connection.execute(_MARK_UNSCORED, unscored_points)
    for part in computed:
        if part.notices or part.has_findings:
            await _keep_notices(connection, part, now_ms)
    await connection.execute(
        _CLEAR,
        [
            {"site": mark.site_id, "point": mark.point_id, "hour": mark.hour_ms, "seen": mark.marked_no}
            for mark in marks
        ],
    )


async def _keep_notices(connection: AsyncConnection, part: _Computed, now_ms: int) -> None:
    counter = part.counter
    about = {
        "device": counter.device_name,
        "point": counter.name,
        "unit": counter.unit,
        "decimals": counter.decimals,
    }
    await keep_findings(
        connection,
        counter.site_id,
        DETECTOR,
        f"point:{counter.point_id}",
        [as_found(notice, **about) for notice in part.notices],
        from_ms=part.start_ms,
        to_ms=part.end_ms,
        now_ms=now_ms,
    )


def _keep_hours() -> Any:
    statement = insert(consumption_hour)
    changing = ("value", "coverage", "state", "computed_ms")
    return statement.on_conflict_do_update(
        index_elements=["site_id", "point_id", "hour_ms"],
        set_={name: statement.excluded[name] for name in changing},
    )


def _mark_unscored() -> Any:
    statement = insert(unscored)
    return statement.on_conflict_do_update(
        index_elements=["site_id", "point_id"],
        set_={
            "from_ms": func.min(unscored.c.from_ms, statement.excluded.from_ms),
            "marked_no": unscored.c.marked_no + 1,
        },
    )


_KEEP_HOURS: Final = _keep_hours()
_MARK_UNSCORED: Final = _mark_unscored()
_CLEAR: Final = delete(dirty_hour).where(
    dirty_hour.c.site_id == bindparam("site"),
    dirty_hour.c.point_id == bindparam("point"),
    dirty_hour.c.hour_ms == bindparam("hour"),
    dirty_hour.c.marked_no == bindparam("seen"),
)
