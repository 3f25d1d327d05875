"""What a device was told to do, for its page: who told it, and what came of it."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.control.record import ON_SITE
from collector.store.schema import command
from collector.web.event_names import fact_title, fact_value
from collector.web.render import Words
from collector.web.texts import has_text

SHOWN: Final = 20
LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Told:
    """One command as a page shows it."""

    issued_ms: int
    by: str
    is_on_site: bool
    what: str
    facts: list[tuple[str, str]]
    state: str
    detail: str


async def newest_commands(connection: AsyncConnection, device: Row[Any], words: Words) -> list[Told]:
    """The newest first."""
    statement = (
        select(command)
        .where(
            command.c.site_id == device.site_id,
            command.c.gateway_id == device.gateway_id,
            command.c.device_id == device.device_id,
        )
        .order_by(command.c.number.desc())
        .limit(SHOWN)
    )
    return [_told(row, words) for row in (await connection.execute(statement)).all()]


def _told(row: Row[Any], words: Words) -> Told:
    arguments: dict[Any, Any] = row.arguments if isinstance(row.arguments, dict) else {}
    key = f"command.action.{row.action}"
    facts = [
        (fact_title(str(name), words.language)[:LONGEST], _shown(value, words)[:LONGEST])
        for name, value in arguments.items()
        if not str(name).endswith("_ms")
    ]
    return Told(
        issued_ms=row.issued_ms,
        by=row.issued_by,
        is_on_site=row.origin == ON_SITE,
        what=words(key) if has_text(key) else row.action,
        facts=facts,
        state=row.state,
        detail=str(row.outcome.get("detail", "")),
    )


def _shown(value: Any, words: Words) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return fact_value(value, words.language) if isinstance(value, str | int | float) else str(value)
