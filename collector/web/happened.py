"""What has happened at a device, for its page: the newest events in words."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import event
from collector.web.event_names import event_title, fact_title, fact_value
from collector.web.render import Words
from models.inventory import DEVICE_DESCRIBED

SHOWN: Final = 40
FACTS: Final = 6
LONGEST: Final = 40
_TIMES = "_ms"  # how the names of times end: the moment of the event is shown already


@dataclass(frozen=True, slots=True)
class Happened:
    """One event as a page shows it."""

    measured_ms: int
    kind: str
    title: str
    facts: list[tuple[str, str]]
    is_history: bool  # the device told it again after an outage


async def newest_events(connection: AsyncConnection, device: Row[Any], words: Words) -> list[Happened]:
    """The newest first; what a device is made of is no event for people."""
    statement = (
        select(event.c.measured_ms, event.c.kind, event.c.data)
        .where(
            event.c.site_id == device.site_id,
            event.c.gateway_id == device.gateway_id,
            event.c.device_id == device.device_id,
            event.c.kind != DEVICE_DESCRIBED,
        )
        .order_by(event.c.measured_ms.desc(), event.c.epoch_id.desc(), event.c.seq.desc())
        .limit(SHOWN)
    )
    return [_told(*row, words) for row in (await connection.execute(statement)).all()]


def _told(measured_ms: int, kind: str, facts: Any, words: Words) -> Happened:
    data: dict[Any, Any] = facts if isinstance(facts, dict) else {}
    language = words.language
    plain = [
        (fact_title(str(name), language)[:LONGEST], fact_value(value, language)[:LONGEST])
        for name, value in data.items()
        if isinstance(value, str | int | float) and value != "" and not _is_silent(str(name))
    ]
    return Happened(
        measured_ms=measured_ms,
        kind=kind,
        title=event_title(kind, language),
        facts=plain[:FACTS],
        is_history=data.get("history") is True,
    )


def _is_silent(name: str) -> bool:
    return name == "history" or name.endswith(_TIMES)
