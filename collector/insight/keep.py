"""Brings findings and alerts of one device into step with how it was judged; one alert for each cause."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import Opening, find_open
from collector.energy.notices import DETECTOR as COUNTER
from collector.insight.conditions import LIVE_MS, holds, is_over
from collector.insight.findings import Found, keep_findings
from collector.insight.judge import Judgement, Unusual
from collector.insight.settings import Detectors
from collector.insight.unusual import Episode
from collector.store.schema import finding, point
from models.times import HOUR_MS

STUCK: Final = "stuck"
CONSUMPTION: Final = "consumption"

LATELY_MS: Final = 24 * HOUR_MS
"""A fall is certain only a few readings later, and some meters are read every few hours. An anomaly may
have hours in it that are missing."""

AFTERMATH_MS: Final = 2 * HOUR_MS
"""When a stuck meter wakes up it may catch up at once; that is part of the same story."""


async def keep_judgement(
    connection: AsyncConnection,
    judgement: Judgement,
    detectors: Detectors,
    receivers: Sequence[str],
    *,
    now_ms: int,
) -> None:
    """Call it inside one transaction. What is worse comes first, and keeps what follows from it quiet."""
    if detectors.stuck_meter.enabled:
        await _keep_stuck(connection, judgement, receivers, now_ms)
    if detectors.fallen_counter.enabled:
        await _keep_fallen(connection, judgement, receivers, now_ms)
    if detectors.unusual_consumption.enabled:
        await _keep_unusual(connection, judgement, receivers, now_ms)


def _condition(detector: str, judgement: Judgement) -> str:
    return f"{detector}:device:{judgement.device.number}"


def _opening(detector: str, judgement: Judgement, opened_ms: int, data: Any) -> Opening:
    return Opening(
        site_id=judgement.device.site_id,
        condition=_condition(detector, judgement),
        detector=detector,
        severity="warning",
        opened_ms=opened_ms,
        data=data,
    )


async def _keep_stuck(
    connection: AsyncConnection, judgement: Judgement, receivers: Sequence[str], now_ms: int
) -> None:
    device, stuck = judgement.device, judgement.stuck
    if stuck is None:
        if device.end_ms is None or device.end_ms > now_ms - LIVE_MS:
            since_ms = now_ms if device.end_ms is None else device.end_ms - HOUR_MS
            condition = _condition(STUCK, judgement)
            await is_over(connection, device.site_id, condition, since_ms=since_ms, now_ms=now_ms)
        return
    await keep_findings(
        connection,
        device.site_id,
        STUCK,
        f"device:{device.number}",
        [stuck],
        from_ms=stuck.start_ms,
        to_ms=stuck.end_ms,
        now_ms=now_ms,
    )
    if stuck.end_ms > now_ms - LIVE_MS:
        await holds(
            connection, _opening(STUCK, judgement, stuck.start_ms, stuck.data), receivers, now_ms=now_ms
        )


async def _keep_fallen(
    connection: AsyncConnection, judgement: Judgement, receivers: Sequence[str], now_ms: int
) -> None:
    """A hole in the consumption calls for a person once; only a person can say what happened."""
    device = judgement.device
    subjects = (
        select("point:" + point.c.id.cast(finding.c.subject.type))
        .where(point.c.site_id == device.site_id, point.c.device == device.number)
        .where(point.c.kind == "counter")
    )
    statement = (
        select(finding)
        .where(finding.c.site_id == device.site_id, finding.c.detector == COUNTER, finding.c.score > 0)
        .where(finding.c.subject.in_(subjects), finding.c.end_ms > now_ms - LATELY_MS)
        .order_by(finding.c.start_ms)
    )
    fallen = [
        row
        for row in (await connection.execute(statement)).all()
        if not await _was_stuck(connection, judgement, row.start_ms, row.end_ms)
    ]
    if not fallen:
        return
    first = fallen[0]
    points = sorted({row.data["point"] for row in fallen})
    data = {**first.data, **device.facts(), "points": points}
    await holds(connection, _opening(COUNTER, judgement, first.start_ms, data), receivers, now_ms=now_ms)


async def _keep_unusual(
    connection: AsyncConnection, judgement: Judgement, receivers: Sequence[str], now_ms: int
) -> None:
    device = judgement.device
    going_on: list[tuple[Episode, Found]] = []
    for counter in judgement.unusual:
        found = [
            f for f in counter.found if not await _was_stuck(connection, judgement, f.start_ms, f.end_ms)
        ]
        await keep_findings(
            connection,
            device.site_id,
            CONSUMPTION,
            f"point:{counter.point}",
            found,
            from_ms=counter.start_ms,
            to_ms=counter.end_ms,
            now_ms=now_ms,
        )
        going_on += [pair for pair in zip(counter.episodes, counter.found, strict=True) if pair[1] in found]
    going_on = [pair for pair in going_on if not pair[0].is_over]
    condition = _condition(CONSUMPTION, judgement)
    if not going_on:
        if device.end_ms is not None and device.end_ms > now_ms - LIVE_MS:
            since_ms = _last_end(judgement.unusual) or device.end_ms
            await is_over(connection, device.site_id, condition, since_ms=since_ms, now_ms=now_ms)
        return
    is_open = await find_open(connection, device.site_id, condition) is not None
    newest = max(going_on, key=lambda pair: pair[0].end_ms)
    if not is_open and not _goes_on(newest[0], now_ms):
        return
    for worse in (STUCK, COUNTER):
        if not is_open and await find_open(connection, device.site_id, _condition(worse, judgement)):
            return
    # Counters of one device tell one story. The largest difference tells it, the others are named.
    largest = max(
        (pair for pair in going_on if pair[0].end_ms == newest[0].end_ms),
        key=lambda pair: abs(pair[0].finding.excess),
    )
    points = sorted({pair[0].hours.name for pair in going_on})
    opening = _opening(CONSUMPTION, judgement, largest[1].start_ms, {**largest[1].data, "points": points})
    await holds(connection, opening, receivers, now_ms=now_ms)


def _goes_on(episode: Episode, now_ms: int) -> bool:
    """Nothing usual is known to have come since, though what is known reaches to the present.

    So what arrives late calls nobody, but what goes on does, also when hours are missing in between.
    """
    is_live = episode.hours.end_ms > now_ms - LIVE_MS and episode.end_ms > now_ms - LATELY_MS
    return is_live and episode.usual_hours_since * HOUR_MS < LIVE_MS


def _last_end(unusual: Sequence[Unusual]) -> int | None:
    return max((episode.end_ms for counter in unusual for episode in counter.episodes), default=None)


async def _was_stuck(connection: AsyncConnection, judgement: Judgement, start_ms: int, end_ms: int) -> bool:
    """Whether the device was stuck at that time, or had only just woken up."""
    statement = select(
        select(1)
        .where(finding.c.site_id == judgement.device.site_id, finding.c.detector == STUCK)
        .where(finding.c.subject == f"device:{judgement.device.number}")
        .where(finding.c.start_ms - HOUR_MS < end_ms, finding.c.end_ms + AFTERMATH_MS > start_ms)
        .exists()
    )
    return bool((await connection.execute(statement)).scalar_one())
