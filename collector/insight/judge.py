"""Judges one device by what is stored of it: stuck, or unusual, or neither. Reads, and writes nothing."""

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from collector.insight import texts
from collector.insight.devices import Device, load_device
from collector.insight.factors import Factors
from collector.insight.findings import Found
from collector.insight.frozen import Frozen, load_is_off
from collector.insight.settings import Detectors
from collector.insight.stuck import Stillness, stillness
from collector.insight.unusual import Episode, episodes
from models.anomaly.detect import MODEL
from models.times import HOUR_MS


@dataclass(frozen=True, slots=True)
class Unusual:
    """Everything odd that one counter did in the last months."""

    point: int
    start_ms: int  # of the time that was looked at
    end_ms: int
    episodes: tuple[Episode, ...]
    found: tuple[Found, ...]  # one for each episode


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of a device."""

    device: Device
    stuck: Found | None
    unusual: tuple[Unusual, ...]


async def judge(
    connection: AsyncConnection,
    site_id: int,
    number: int,
    *,
    frozen: Frozen | None,
    detectors: Detectors,
    factors: Factors,
    now_ms: int,
) -> Judgement:
    """Look at all that is stored. The arithmetic is done in a thread: it takes 10 ms a counter."""
    device = await load_device(connection, site_id, number, now_ms=now_ms)
    stuck, zeros_are_real = None, not detectors.stuck_meter.enabled
    if detectors.stuck_meter.enabled:
        still, zeros_are_real = await _still(connection, device, detectors.stuck_meter.after_hours)
        if still is not None:
            stuck = _stuck(device, still)
        elif frozen is not None:
            stuck = _frozen(device, frozen)
    unusual: tuple[Unusual, ...] = ()
    if detectors.unusual_consumption.enabled:
        unusual = await asyncio.to_thread(_unusual, device, factors, zeros_are_real)
    return Judgement(device, stuck, unusual)


async def _still(
    connection: AsyncConnection, device: Device, after_hours: int
) -> tuple[Stillness | None, bool]:
    """The counter that is stuck, if one is; and whether those that stand still do so for want of load."""
    for hours in device.counters:
        still = stillness(hours)
        if still is not None and still.is_stuck(after_hours):
            if await load_is_off(
                connection, device.site_id, device.number, start_ms=still.start_ms, end_ms=hours.end_ms
            ):
                return None, True
            return still, False
    return None, False


def _stuck(device: Device, still: Stillness) -> Found:
    data = {
        **device.facts(),
        "points": [still.hours.name],
        "point": still.hours.name,
        "unit": still.hours.unit,
        "hours": still.count,
        "longest_before": still.longest_before,
        "expected": round(still.expected, 2),
        "seen": 0.0,
    }
    words = texts.stuck(data, since_ms=still.start_ms, zone=device.zone)
    return Found(
        start_ms=still.start_ms, end_ms=still.hours.end_ms, score=float(still.count), data={**data, **words}
    )


def _frozen(device: Device, frozen: Frozen) -> Found:
    hours = round((frozen.end_ms - frozen.since_ms) / HOUR_MS)
    data = {**device.facts(), "points": list(frozen.points), "hours": hours}
    words = texts.frozen(data, since_ms=frozen.since_ms, zone=device.zone)
    return Found(start_ms=frozen.since_ms, end_ms=frozen.end_ms, score=float(hours), data={**data, **words})


def _unusual(device: Device, factors: Factors, zeros_are_real: bool) -> tuple[Unusual, ...]:
    result = []
    for hours in device.counters:
        seen = episodes(device, hours, zeros_are_real=zeros_are_real)
        found = tuple(_found(device, episode, factors) for episode in seen)
        result.append(Unusual(hours.point, int(hours.hour_ms[0]), hours.end_ms, tuple(seen), found))
    return tuple(result)


def _found(device: Device, episode: Episode, factors: Factors) -> Found:
    hours, finding = episode.hours, episode.finding
    data: dict[str, Any] = {
        **device.facts(),
        "points": [hours.name],
        "point": hours.name,
        "unit": hours.unit,
        "expected": round(finding.expected, 2),
        "seen": round(finding.seen, 2),
        "excess": round(finding.excess, 2),
        "score": round(finding.score, 2),
        "why": [why.name.lower() for why in finding.why],
        "model": MODEL,
        **factors.worth(
            finding.excess,
            unit=hours.unit,
            item_code=hours.item_code,
            on=device.day_of(episode.start_ms),
        ),
    }
    words = texts.consumption(data, start_ms=episode.start_ms, end_ms=episode.end_ms, zone=device.zone)
    return Found(
        start_ms=episode.start_ms, end_ms=episode.end_ms, score=finding.score, data={**data, **words}
    )
