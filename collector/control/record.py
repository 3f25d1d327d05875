"""The record of commands: who told what to which device, and every step of what came of it.

Each function works in its caller's transaction, on the plain connection of `Store.bulk`. A state only ever
gives way to one that says more, so reports may come twice and in any order.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from collector.control.offers import COLLECTOR, EXPIRED, MOST_TEXT, SENT, WAITING, Offers, as_json
from models.command import EXPIRED as EXPIRED_CODE
from models.command import ID, OUTCOMES, Command, Outcome
from models.reading import Event
from models.times import DAY_MS

STATES: Final = (WAITING, SENT, EXPIRED, "refused", "failed", "done")
"""In the order in which one gives way to another. `expired` is final unless it was done all the same."""

FINAL: Final = STATES[2:]

ON_SITE: Final = "on-site"
UNKNOWN: Final = "unknown"
"""The origin of a command that a gateway reports and that this collector, restored from a backup, lacks."""

COMMANDS: Final = Offers(
    table="command",
    history="command_change",
    key="command_id",
    is_open="command.state IN ('waiting', 'sent')",
    answer_limit_ms=6 * DAY_MS,  # a gateway remembers it for a day more
    no_answer=("failed", "the gateway has not said what came of it; look at the device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command to keep, with the bytes that its gateway will get."""

    site_id: int
    command: Command
    shown: dict[str, Any]
    request_digest: bytes
    signed: bytes = field(repr=False)


def add(connection: sqlite3.Connection, new: NewCommand) -> None:
    """Keep it, waiting for its gateway."""
    command = new.command
    _insert(
        connection,
        new.site_id,
        command,
        origin=COLLECTOR,
        arguments=new.shown,
        state=WAITING,
        outcome={},
        at_ms=command.issued_ms,
        request_digest=new.request_digest,
        signed=new.signed,
    )
    COMMANDS.note(connection, new.site_id, command.id, WAITING, command.issued_by, "", command.issued_ms)


def settle(
    connection: sqlite3.Connection, site_id: int, gateway_id: str, events: Sequence[Event], now_ms: int
) -> None:
    """Take over what a gateway says came of commands; also of those that were given on site.

    What is no outcome, or speaks of another gateway's command, changes nothing: it stays an event.
    """
    for event in events:
        outcome = _outcome(event)
        if outcome is None:
            continue
        state = EXPIRED if outcome.code == EXPIRED_CODE else OUTCOMES[event.kind]
        told = {
            "at_ms": event.measured_ms,
            **({"result": outcome.result} if outcome.result else {}),
            **({"code": outcome.code, "detail": outcome.detail[:MOST_TEXT]} if outcome.code else {}),
        }
        known = connection.execute(
            "SELECT gateway_id, device_id, state FROM command WHERE site_id = ? AND id = ?",
            (site_id, outcome.id),
        ).fetchone()
        if known is None:
            _add_reported(connection, site_id, gateway_id, event, outcome, state, told, now_ms)
        elif known[:2] == (gateway_id, event.device_id) and _says_more(state, known[2]):
            COMMANDS.change(connection, site_id, outcome.id, state, gateway_id, outcome.detail, now_ms, told)


def _outcome(event: Event) -> Outcome | None:
    if event.kind not in OUTCOMES:
        return None
    try:
        outcome = msgspec.convert(event.data, Outcome)
    except msgspec.ValidationError:
        return None
    if not ID.fullmatch(outcome.id) or max(len(outcome.action), len(outcome.by)) > MOST_TEXT:
        return None
    return outcome


def _says_more(state: str, than: str) -> bool:
    return STATES.index(state) > STATES.index(than)


def _add_reported(
    connection: sqlite3.Connection,
    site_id: int,
    gateway_id: str,
    event: Event,
    outcome: Outcome,
    state: str,
    told: dict[str, Any],
    now_ms: int,
) -> None:
    command = Command(
        id=outcome.id,
        gateway_id=gateway_id,
        device_id=event.device_id,
        action=outcome.action,
        arguments={},
        issued_ms=event.measured_ms,
        expires_ms=event.measured_ms,
        issued_by=outcome.by,
    )
    _insert(
        connection,
        site_id,
        command,
        origin=ON_SITE if outcome.origin == ON_SITE else UNKNOWN,
        arguments=outcome.arguments,
        state=state,
        outcome=told,
        at_ms=now_ms,
        request_digest=None,
        signed=None,
    )
    COMMANDS.note(connection, site_id, command.id, state, gateway_id, outcome.detail, now_ms)


def _insert(
    connection: sqlite3.Connection,
    site_id: int,
    command: Command,
    *,
    origin: str,
    arguments: dict[str, Any],
    state: str,
    outcome: dict[str, Any],
    at_ms: int,
    request_digest: bytes | None,
    signed: bytes | None,
) -> None:
    connection.execute(
        "INSERT INTO command (site_id, id, number, origin, gateway_id, device_id, action, arguments, "
        "issued_by, issued_ms, expires_ms, state, outcome, changed_ms, request_digest, signed) "
        "SELECT ?1, ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? "
        "FROM command WHERE site_id = ?1",
        (
            site_id,
            command.id,
            origin,
            command.gateway_id,
            command.device_id,
            command.action,
            as_json(arguments),
            command.issued_by,
            command.issued_ms,
            command.expires_ms,
            state,
            as_json(outcome),
            at_ms,
            request_digest,
            signed,
        ),
    )
