"""The record of commands: who told what to which device, and every step of what came of it.

Each function works in its caller's transaction, on the plain connection of `Store.bulk`. A state only ever
gives way to one that says more, so reports may come twice and in any order.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from models.command import EXPIRED, ID, OUTCOMES, Command, Outcome
from models.reading import Event
from models.times import DAY_MS

WAITING: Final = "waiting"  # for its gateway to fetch it
SENT: Final = "sent"  # its gateway has it
STATES: Final = (WAITING, SENT, EXPIRED, "refused", "failed", "done")
"""In the order in which one gives way to another. `expired` is final unless it was done all the same."""

FINAL: Final = STATES[2:]

IS_OPEN: Final = "command.state IN ('waiting', 'sent')"
"""As the index of open commands has it: written out, or SQLite would look at all there ever were."""

COLLECTOR: Final = "collector"
"""Who has changed a state, where it was neither a person nor a gateway."""

ON_SITE: Final = "on-site"
UNKNOWN: Final = "unknown"
"""The origin of a command that a gateway reports and that this collector, restored from a backup, lacks."""

ANSWER_LIMIT_MS: Final = 6 * DAY_MS
"""How long after its end a command may be without answer. A gateway remembers it for a day more."""

NO_ANSWER: Final = "the gateway has not said what came of it; look at the device"

_MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command to keep, with the bytes that its gateway will get."""

    site_id: int
    command: Command
    shown: dict[str, Any]
    request_digest: bytes
    signed: bytes = field(repr=False)


def request_digest_of(connection: sqlite3.Connection, site_id: int, command_id: str) -> bytes | None:
    """What the command of that id was asked for with; b"" when not here, and None when there is none."""
    row = connection.execute(
        "SELECT coalesce(request_digest, x'') FROM command WHERE site_id = ? AND id = ?",
        (site_id, command_id),
    ).fetchone()
    return None if row is None else bytes(row[0])


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
    _note(connection, new.site_id, command.id, WAITING, command.issued_by, "", command.issued_ms)


def taken(connection: sqlite3.Connection, gateway_id: str, ids: Iterable[str], now_ms: int) -> None:
    """The gateway says that it has these. Those of another are not touched."""
    for command_id in ids:
        row = connection.execute(
            "SELECT site_id FROM command WHERE site_id = (SELECT site_id FROM gateway WHERE id = ?1) "
            "AND id = ?2 AND gateway_id = ?1 AND state = 'waiting'",
            (gateway_id, command_id),
        ).fetchone()
        if row is not None:
            _change(connection, row[0], command_id, SENT, gateway_id, "", now_ms)


def expire(connection: sqlite3.Connection, now_ms: int) -> None:
    """End what was not fetched in its time, and what nobody will answer any more."""
    for site_id, command_id, state, expires_ms in connection.execute(
        "SELECT site_id, id, state, expires_ms FROM command "
        "WHERE command.state IN ('waiting', 'sent') AND expires_ms <= ?",  # see IS_OPEN
        (now_ms,),
    ).fetchall():
        if state == WAITING:
            detail = "its gateway did not take it in time"
            _change(connection, site_id, command_id, EXPIRED, COLLECTOR, detail, now_ms)
        elif expires_ms <= now_ms - ANSWER_LIMIT_MS:
            _change(connection, site_id, command_id, "failed", COLLECTOR, NO_ANSWER, now_ms)


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
        state = EXPIRED if outcome.code == EXPIRED else OUTCOMES[event.kind]
        told = {
            "at_ms": event.measured_ms,
            **({"result": outcome.result} if outcome.result else {}),
            **({"code": outcome.code, "detail": outcome.detail[:_MAX_TEXT]} if outcome.code else {}),
        }
        known = connection.execute(
            "SELECT gateway_id, device_id, state FROM command WHERE site_id = ? AND id = ?",
            (site_id, outcome.id),
        ).fetchone()
        if known is None:
            _add_reported(connection, site_id, gateway_id, event, outcome, state, told, now_ms)
        elif known[:2] == (gateway_id, event.device_id) and _says_more(state, known[2]):
            _change(connection, site_id, outcome.id, state, gateway_id, outcome.detail, now_ms, told)


def _outcome(event: Event) -> Outcome | None:
    if event.kind not in OUTCOMES:
        return None
    try:
        outcome = msgspec.convert(event.data, Outcome)
    except msgspec.ValidationError:
        return None
    if not ID.fullmatch(outcome.id) or max(len(outcome.action), len(outcome.by)) > _MAX_TEXT:
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
    _note(connection, site_id, command.id, state, gateway_id, outcome.detail, now_ms)


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
            _json(arguments),
            command.issued_by,
            command.issued_ms,
            command.expires_ms,
            state,
            _json(outcome),
            at_ms,
            request_digest,
            signed,
        ),
    )


def _change(
    connection: sqlite3.Connection,
    site_id: int,
    command_id: str,
    state: str,
    by: str,
    detail: str,
    now_ms: int,
    outcome: dict[str, Any] | None = None,
) -> None:
    connection.execute(
        "UPDATE command SET state = ?, changed_ms = ?, outcome = coalesce(?, outcome) "
        "WHERE site_id = ? AND id = ?",
        (state, now_ms, None if outcome is None else _json(outcome), site_id, command_id),
    )
    _note(connection, site_id, command_id, state, by, detail, now_ms)


def _note(
    connection: sqlite3.Connection,
    site_id: int,
    command_id: str,
    state: str,
    by: str,
    detail: str,
    now_ms: int,
) -> None:
    """Rows of the history are only ever added."""
    connection.execute(
        "INSERT INTO command_change (site_id, command_id, number, state, by, detail, at_ms) "
        "SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?, ?, ?, ? FROM command_change "
        "WHERE site_id = ?1 AND command_id = ?2",
        (site_id, command_id, state, by, detail[:_MAX_TEXT], now_ms),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
