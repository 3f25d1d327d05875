"""Finds gateways that ask to be taken back, for somebody has to decide, and tells when that was done."""

from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import Opening
from collector.identity.next_key import WAITING, open_requests
from collector.insight import texts
from collector.insight.conditions import holds, is_over, open_conditions

RETURNING: Final = "returning"


async def judge_returns(
    connection: AsyncConnection, receivers: Sequence[str], *, now_ms: int, real_now_ms: int
) -> None:
    """One alert for each gateway that waits, by whatever key it asks. Call it inside one transaction.

    `real_now_ms` is what such questions live by, whatever clock the readings have.
    """
    waiting: set[tuple[int, str]] = set()
    for row in await open_requests(connection, real_now_ms):
        if row.state == WAITING:
            condition = f"{RETURNING}:gateway:{row.gateway_id}"
            waiting.add((row.site_id, condition))
            opening = Opening(
                site_id=row.site_id,
                condition=condition,
                detector=RETURNING,
                severity="warning",
                opened_ms=row.asked_ms,
                data=_data(row),
            )
            await holds(connection, opening, receivers, now_ms=now_ms)
    for site_id, condition in await open_conditions(connection, RETURNING):
        if (site_id, condition) not in waiting:
            await is_over(connection, site_id, condition, since_ms=now_ms, now_ms=now_ms)


def _data(row: Row[Any]) -> dict[str, Any]:
    data = {"gateway": row.name, "gateway_id": row.gateway_id, "code": row.code}
    return {**data, **texts.returning(data, since_ms=row.asked_ms, zone=ZoneInfo(row.timezone))}
