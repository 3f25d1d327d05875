"""What has happened at a device, for its page: the newest events in words."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.schema import event
from collector.web.event_names import event_title, fact_title, fact_value
from collector.web.render import Words
from collector.web.texts import Language
from models.inventory import DEVICE_DESCRIBED

SHOWN: Final = 40
FACTS: Final = 6
LONGEST: Final = 40
_TIMES = "_ms"  # how the names of times end: the moment of the event is shown already
_FIRST: Final = ("reason", "state", "was", "bay", "door_name", "door", "direction", "credential", "last4")
"""What a person looks for first."""

_SILENT: Final = frozenset({"history", "code", "serial", "numbering"})
_HASHES: Final = frozenset({"pseudonym", "person"})
_HASH_SHOWN: Final = 8  # hex digits are enough to tell two people of a day apart


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
        (fact_title(name, language)[:LONGEST], _value(name, value, language)[:LONGEST])
        for name, value in sorted(data.items(), key=lambda fact: _rank(str(fact[0])))
        if isinstance(name, str)
        and isinstance(value, str | int | float)
        and value != ""
        and not (name in _SILENT or name.endswith(_TIMES) or (name == "door" and "door_name" in data))
    ]
    return Happened(
        measured_ms=measured_ms,
        kind=kind,
        title=event_title(kind, language),
        facts=plain[:FACTS],
        is_history=data.get("history") is True,
    )


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _value(name: str, value: object, language: Language) -> str:
    text = fact_value(value, language)
    return f"{text[:_HASH_SHOWN]}…" if name in _HASHES else text
