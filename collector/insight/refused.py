"""Finds gateways in whose name the collector is sent what it must refuse, and tells when that has ended."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import Opening
from collector.insight import texts
from collector.insight.conditions import holds, is_over, open_conditions
from collector.intake.refusals import QUIET_MS, SUSPICIOUS
from collector.store.schema import gateway, refusal, site
from models.protocol import Code

REFUSED: Final = "refused"
HONEST_BREAKS: Final = 2
"""A gateway whose store was restored from a copy is told once that its chain is broken, and begins anew."""


async def judge_refusals(connection: AsyncConnection, receivers: Sequence[str], *, now_ms: int) -> None:
    """One alert for each gateway and episode, however much is refused. Call it inside one transaction.

    An episode ends by itself when nothing was refused for a while (`collector.intake.refusals.QUIET_MS`).
    """
    of_gateway: dict[tuple[int, str], list[Row[Any]]] = defaultdict(list)
    for row in await _recent(connection, now_ms):
        if row.code != Code.CHAIN_BROKEN or row.episode_count > HONEST_BREAKS:
            of_gateway[row.site_id, row.gateway_id].append(row)
    for (site_id, gateway_id), rows in of_gateway.items():
        opening = Opening(
            site_id=site_id,
            condition=f"{REFUSED}:gateway:{gateway_id}",
            detector=REFUSED,
            severity="critical",
            opened_ms=min(row.episode_ms for row in rows),
            data=_data(rows),
        )
        await holds(connection, opening, receivers, now_ms=now_ms)
    for site_id, condition in await open_conditions(connection, REFUSED):
        gateway_id = condition.rpartition(":")[2]
        if (site_id, gateway_id) not in of_gateway:
            last_ms = await _last(connection, gateway_id)
            await is_over(connection, site_id, condition, since_ms=last_ms or now_ms, now_ms=now_ms)


async def _recent(connection: AsyncConnection, now_ms: int) -> Sequence[Row[Any]]:
    """What was refused lately and should not be, with whose it is."""
    statement = (
        select(refusal, gateway.c.site_id, gateway.c.name, site.c.timezone)
        .join_from(refusal, gateway, gateway.c.id == refusal.c.gateway_id)
        .join(site, site.c.id == gateway.c.site_id)
        .where(refusal.c.code.in_(SUSPICIOUS), refusal.c.last_ms >= now_ms - QUIET_MS)
        .order_by(refusal.c.gateway_id, refusal.c.episode_count.desc(), refusal.c.code)
    )
    return (await connection.execute(statement)).all()


async def _last(connection: AsyncConnection, gateway_id: str) -> int | None:
    """When something of it was last refused that should not be."""
    statement = (
        select(refusal.c.last_ms)
        .where(refusal.c.gateway_id == gateway_id, refusal.c.code.in_(SUSPICIOUS))
        .order_by(refusal.c.last_ms.desc())
        .limit(1)
    )
    return (await connection.execute(statement)).scalar_one_or_none()


def _data(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    data = {
        "gateway": rows[0].name,
        "gateway_id": rows[0].gateway_id,
        "refused": {row.code: row.episode_count for row in rows},
        "count": sum(row.episode_count for row in rows),
        "detail": rows[0].detail,
    }
    since_ms = min(row.episode_ms for row in rows)
    return {**data, **texts.refused(data, since_ms=since_ms, zone=ZoneInfo(rows[0].timezone))}
