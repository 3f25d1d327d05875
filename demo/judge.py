"""Asks the collector's API what it holds, and holds that against the ledgers of what was shown."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from demo.align import Shown, Tally, tally
from simulators.ledger import happenings, produced

_AT_ONCE = 4  # requests under way: enough to keep the collector busy
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Alert:
    """What the collector alerted, in the terms of the scenario."""

    detector: str
    about: str  # a device id, or "gateway"
    state: str


class Api:
    """The collector's API as a platform uses it: token, pages, nothing else."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> Any:
        reply = await self._http.get(f"/api/v1{path}", params=query)
        reply.raise_for_status()
        return reply.json()

    async def items(self, path: str, **query: str | int) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        page = await self.get(path, limit=_PAGE, **query)
        while True:
            for item in page["items"]:
                yield item
            if page["next_cursor"] is None:
                return
            page = await self.get(path, limit=_PAGE, cursor=page["next_cursor"], **query)


async def compare(
    api: Api,
    ledgers: Sequence[Path],
    *,
    from_ms: int,
    to_ms: int,
    never_on_disk: Sequence[tuple[int, int]] = (),
) -> Tally:
    """Every value that was shown, against every value that the collector stored of the same devices.

    `never_on_disk` are the times in which the disk of a reader that was then killed refused everything.
    """
    shown: dict[tuple[str, str], list[Shown]] = defaultdict(list)
    for ledger in ledgers:
        for entry in sorted(produced(ledger), key=lambda entry: entry.served_ms):
            in_memory = any(first <= entry.served_ms <= last for first, last in never_on_disk)
            row = shown[entry.meter_id, entry.point]
            row.append(Shown(entry.value, entry.confirmed and not in_memory))
    devices = {device["id"]: device["device_id"] async for device in api.items("/devices")}
    points = [point async for point in api.items("/points")]
    total = Tally()
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(point: dict[str, Any], row: list[Shown]) -> None:
        async with at_once:
            path = f"/points/{point['site']}/{point['id']}/readings"
            readings = api.items(path, **{"from": from_ms, "to": to_ms})
            stored = [item["value"] async for item in readings if item["value"] is not None]
        tolerance = 0.5 * 10 ** -point["decimals"] * (1 + 1e-6)
        total.add(tally(row, stored, tolerance=tolerance))

    known = {device for device, _ in shown}
    async with asyncio.TaskGroup() as tasks:
        for point in points:
            device = devices[point["device"]]
            if device in known:  # what agents make of others, such as the counts of a zone, nobody showed
                tasks.create_task(one(point, shown.pop((device, point["name"]), [])))
    for row in shown.values():  # points that the collector has never heard of
        total.add(tally(row, []))
    return total


@dataclass(slots=True)
class EventTally:
    """What happened at the devices, and what became of it."""

    happened: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    in_flight: int = 0  # not stored, as it may be: at the very end, or told by what keeps nothing


_LAST_MS = 120_000  # simulated: what happened so shortly before the end may not have been told


async def compare_events(api: Api, ledgers: Sequence[Path], *, from_ms: int, to_ms: int) -> EventTally:
    """Everything that happened at a device, against the events that the collector stored of these kinds."""
    entries = [entry for ledger in ledgers for entry in happenings(ledger)]
    last_ms = max((entry.at_ms for entry in entries), default=0)
    happened: dict[tuple[str, str], list[bool]] = defaultdict(list)  # whether it must have arrived
    for entry in entries:
        must = entry.kept and entry.at_ms <= last_ms - _LAST_MS
        happened[entry.device, entry.kind].append(must)
    stored: dict[tuple[str, str], int] = defaultdict(int)
    async for event in api.items("/events", **{"from": from_ms, "to": to_ms}):
        key = (event["device_id"], event["kind"])
        if key in happened:
            stored[key] += 1
    total = EventTally()
    for key, musts in happened.items():
        lost = max(0, len(musts) - stored[key])
        may = min(lost, musts.count(False))
        total.happened += len(musts)
        total.stored += stored[key]
        total.missing += lost - may
        total.in_flight += may
        total.doubled += max(0, stored[key] - len(musts))
    return total


async def alerts(api: Api) -> list[Alert]:
    """All that was ever alerted, in a stable order."""
    found = []
    async for item in api.items("/alerts"):
        found.append(Alert(item["detector"], item["data"].get("device_id") or "gateway", item["state"]))
    return sorted(found, key=lambda alert: (alert.detector, alert.about))
