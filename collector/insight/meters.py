"""Judges one device by its main counters: stuck, or unusual, or neither; one alert for each cause."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import RECOVERED, Opening, find_last, find_open, open_alert, refresh, resolve
from collector.insight import texts
from collector.insight.factors import worth
from collector.insight.findings import Found, keep_findings
from collector.insight.hours import Hours
from collector.insight.stuck import Stillness, stillness
from collector.insight.unusual import Episode, episodes
from collector.settings import Detectors
from collector.store.schema import point, reading
from models.anomaly.detect import MODEL
from models.times import HOUR_MS

STUCK, CONSUMPTION = "stuck", "consumption"
_KINDS = {"01": "electricity", "02": "water", "03": "gas", "04": "heat", "05": "heat"}


async def judge_device(
    connection: AsyncConnection,
    counters: Sequence[Hours],
    detectors: Detectors,
    receivers: Sequence[str],
    *,
    now_ms: int,
) -> None:
    """Bring findings and alerts of one device into step with its hours. Call it inside one transaction."""
    if detectors.stuck_meter.enabled:
        await _judge_stuck(connection, counters, receivers, now_ms)
    if detectors.unusual_consumption.enabled:
        await _judge_consumption(connection, counters, receivers, now_ms)


async def _judge_stuck(
    connection: AsyncConnection, counters: Sequence[Hours], receivers: Sequence[str], now_ms: int
) -> None:
    first = counters[0]
    condition = f"{STUCK}:device:{first.device}"
    open_row = await find_open(connection, first.site_id, condition)
    for hours in counters:
        still = stillness(hours)
        if still is None or not still.is_stuck:
            continue
        since_ms, end_ms = int(hours.hour_ms[still.start]), int(hours.hour_ms[-1]) + HOUR_MS
        data = await _stuck_data(connection, hours, still, since_ms)
        found = Found(start_ms=since_ms, end_ms=end_ms, score=float(still.hours), data=data)
        await keep_findings(
            connection, first.site_id, STUCK, f"point:{hours.point}", [found],
            from_ms=since_ms, to_ms=end_ms, now_ms=now_ms,
        )  # fmt: skip
        await _alert(
            connection, open_row, Opening(
                site_id=first.site_id, condition=condition, detector=STUCK, severity="warning",
                opened_ms=since_ms, data=data,
            ), receivers, now_ms,
        )  # fmt: skip
        return
    if open_row is not None:
        moved = max(int(hours.hour_ms[-1]) for hours in counters)
        await resolve(connection, first.site_id, open_row.id, by=RECOVERED, now_ms=now_ms, resolved_ms=moved)


async def _judge_consumption(
    connection: AsyncConnection, counters: Sequence[Hours], receivers: Sequence[str], now_ms: int
) -> None:
    first = counters[0]
    condition = f"{CONSUMPTION}:device:{first.device}"
    open_row = await find_open(connection, first.site_id, condition)
    current: tuple[Hours, Episode] | None = None
    for hours in counters:
        kind = _KINDS.get((hours.item_code or "01")[:2], "electricity")
        seen = episodes(hours, kind)
        await keep_findings(
            connection, first.site_id, CONSUMPTION, f"point:{hours.point}",
            [_found(hours, episode) for episode in seen],
            from_ms=int(hours.hour_ms[0]), to_ms=int(hours.hour_ms[-1]) + HOUR_MS, now_ms=now_ms,
        )  # fmt: skip
        if seen and (current is None or seen[-1].score > current[1].score) and not seen[-1].is_over:
            current = hours, seen[-1]
    if current is None:
        if open_row is not None:
            newest = max(int(hours.hour_ms[-1]) for hours in counters)
            await resolve(
                connection, first.site_id, open_row.id, by=RECOVERED, now_ms=now_ms, resolved_ms=newest
            )
        return
    hours, episode = current
    if open_row is None and not episode.is_fresh:
        return
    opening = Opening(
        site_id=first.site_id, condition=condition, detector=CONSUMPTION, severity="warning",
        opened_ms=episode.start_ms, data=_found(hours, episode).data,
    )  # fmt: skip
    await _alert(connection, open_row, opening, receivers, now_ms)


def _found(hours: Hours, episode: Episode) -> Found:
    data: dict[str, Any] = {
        **hours.facts(),
        "expected": round(episode.expected, 2),
        "low": round(episode.low, 2),
        "high": round(episode.high, 2),
        "seen": round(episode.seen, 2),
        "excess": round(episode.excess, 2),
        "hours": episode.odd_hours,
        "score": round(episode.score, 2),
        "model": MODEL,
        **worth(episode.excess, hours.unit, hours.item_code, episode.start_ms),
    }
    words = texts.consumption(data, start_ms=episode.start_ms, end_ms=episode.end_ms, zone=hours.zone)
    return Found(
        start_ms=episode.start_ms, end_ms=episode.end_ms, score=episode.score, data={**data, **words}
    )


async def _stuck_data(
    connection: AsyncConnection, hours: Hours, still: Stillness, since_ms: int
) -> dict[str, Any]:
    data = {
        **hours.facts(),
        "hours": still.hours,
        "longest_before": still.longest_before,
        "expected": round(still.expected, 2),
        "seen": 0.0,
        "frozen_points": await _frozen_points(connection, hours, since_ms + HOUR_MS),
    }
    return {**data, **texts.stuck(data, since_ms=since_ms, zone=hours.zone)}


async def _frozen_points(connection: AsyncConnection, hours: Hours, since_ms: int) -> int:
    """How many other points of the device have had one and the same value since then, though not 0."""
    others = select(point.c.id).where(
        point.c.site_id == hours.site_id, point.c.device == hours.device, point.c.id != hours.point
    )
    same = (
        select(reading.c.point_id)
        .where(reading.c.site_id == hours.site_id, reading.c.point_id.in_(others))
        .where(reading.c.measured_ms >= since_ms, reading.c.value.is_not(None))
        .group_by(reading.c.point_id)
        .having(func.min(reading.c.value) == func.max(reading.c.value), func.count() > 2)
        .having(func.max(reading.c.value) != 0)
    )
    return int((await connection.execute(select(func.count()).select_from(same.subquery()))).scalar_one())


async def _alert(
    connection: AsyncConnection,
    open_row: Row[Any] | None,
    opening: Opening,
    receivers: Sequence[str],
    now_ms: int,
) -> None:
    """Open it, or tell more of the one that is open. What a person has closed stays closed for its cause."""
    if open_row is not None:
        if open_row.data != opening.data:
            await refresh(connection, opening.site_id, open_row.id, opening.data)
        return
    last = await find_last(connection, opening.site_id, opening.condition)
    if last is not None and last.opened_ms == opening.opened_ms:
        return
    await open_alert(connection, opening, receivers, now_ms=now_ms)
