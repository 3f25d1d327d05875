"""Finds that nothing gets to the higher collector any more though something waits, and tells when it does."""

from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts.service import Opening
from collector.insight import texts
from collector.insight.conditions import holds, is_over, open_conditions
from collector.insight.settings import LateUpstream

LATE: Final = "forward-late"

_WAITING: Final = """
SELECT upstream, count(*) AS waiting, count(DISTINCT gateway_id) AS gateways,
    (SELECT max(sent_ms) FROM forward AS sent WHERE sent.upstream = forward.upstream AND sent_ms IS NOT NULL)
    AS last_ms, min(id) AS oldest
FROM forward WHERE sent_ms IS NULL AND refused IS NULL GROUP BY upstream
"""
_OLDEST: Final = """
SELECT site_id, received_ms, timezone FROM forward JOIN envelope USING (site_id, epoch_id, number)
JOIN site ON site.id = site_id WHERE forward.id = :oldest
"""


async def judge_forwarding(
    connection: AsyncConnection, settings: LateUpstream, receivers: Sequence[str], *, now_ms: int
) -> None:
    """One alert for a higher collector, however much waits for it. Call it inside one transaction.

    A backlog that is on its way is not late.
    """
    rows = (await connection.execute(text(_WAITING))).all()
    open_at = {condition: site_id for site_id, condition in await open_conditions(connection, LATE)}
    for row in rows:
        oldest = (await connection.execute(text(_OLDEST), {"oldest": row.oldest})).one()
        since_ms = max(row.last_ms or 0, oldest.received_ms)
        condition = f"{LATE}:upstream:{row.upstream}"
        if now_ms - since_ms > settings.after_minutes * 60_000:
            opening = Opening(
                site_id=open_at.pop(condition, oldest.site_id),
                condition=condition,
                detector=LATE,
                severity="warning",
                opened_ms=since_ms,
                data=_data(row, since_ms, oldest.timezone),
            )
            await holds(connection, opening, receivers, now_ms=now_ms)
    for condition, site_id in open_at.items():
        await is_over(connection, site_id, condition, since_ms=now_ms, now_ms=now_ms)


def _data(row: Row[Any], since_ms: int, timezone: str) -> dict[str, Any]:
    """Without how much waits, or the alert would have to be told anew each minute."""
    data = {"gateways": row.gateways}
    return {**data, **texts.late(data, since_ms=since_ms, zone=ZoneInfo(timezone))}
