"""Keeps the table of findings in step with what analysis sees, when it looks at a time again too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was seen of one subject over one time."""

    start_ms: int
    end_ms: int
    score: float
    data: Mapping[str, Any]  # title and text in zh and en, expected, seen, excess, unit, …


async def keep_findings(
    connection: AsyncConnection,
    site_id: int,
    detector: str,
    subject: str,
    found: Sequence[Found],
    *,
    from_ms: int,
    to_ms: int,
    now_ms: int,
) -> None:
    """Make `found` all that the detector says of the subject about the time between `from_ms` and `to_ms`.

    What was found before and still is keeps its number and the time it was found.
    """
    about = (
        select(finding)
        .where(finding.c.site_id == site_id, finding.c.detector == detector, finding.c.subject == subject)
        .where(finding.c.start_ms < to_ms, finding.c.end_ms > from_ms)
    )
    known = {row.start_ms: row for row in await connection.execute(about)}
    new = []
    for seen in found:
        row = known.pop(seen.start_ms, None)
        if row is None:
            new.append(seen)
        elif (row.end_ms, row.score, row.data) != (seen.end_ms, seen.score, dict(seen.data)):
            await connection.execute(
                update(finding)
                .where(finding.c.site_id == site_id, finding.c.id == row.id)
                .values(end_ms=seen.end_ms, score=seen.score, data=dict(seen.data))
            )
    if known:
        gone = [row.id for row in known.values()]
        await connection.execute(delete(finding).where(finding.c.site_id == site_id, finding.c.id.in_(gone)))
    if not new:
        return
    highest = select(func.coalesce(func.max(finding.c.id), 0)).where(finding.c.site_id == site_id)
    first = (await connection.execute(highest)).scalar_one() + 1
    await connection.execute(
        insert(finding),
        [
            {
                "site_id": site_id,
                "id": first + number,
                "detector": detector,
                "subject": subject,
                "start_ms": seen.start_ms,
                "end_ms": seen.end_ms,
                "score": seen.score,
                "data": dict(seen.data),
                "found_ms": now_ms,
            }
            for number, seen in enumerate(new)
        ],
    )
