"""The record of configurations: what was pushed to gateways, what came of it, and what was active where.

Each function works in its caller's transaction, on the plain connection of `Store.bulk`. A state only ever
gives way to one that says more, so reports may come twice and in any order.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from collector.control.offers import EXPIRED, MOST_TEXT, SENT, WAITING, Offers
from models.command import ID
from models.configuration import (
    OUTCOMES,
    ConfigReport,
    ConfigurationInvalid,
    Pushed,
    digest_of,
    files_told,
    pack_files,
)
from models.reading import GATEWAY, Event
from models.times import DAY_MS

STATES: Final = (WAITING, SENT, "tried", EXPIRED, "refused", "reverted", "applied")
"""In the order in which one gives way to another. `expired` is final unless it was taken all the same."""

FINAL: Final = STATES[3:]

_MAX_PROBLEMS = 20


PUSHES: Final = Offers(
    table="configuration",
    history="configuration_change",
    key="configuration_id",
    is_open="configuration.state IN ('waiting', 'sent', 'tried')",
    answer_limit_ms=7 * DAY_MS,
    no_answer=(EXPIRED, "the gateway has not said what came of it"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPush:
    """A configuration to keep, with the bytes that its gateway will get."""

    site_id: int
    pushed: Pushed
    request_digest: bytes
    signed: bytes = field(repr=False)


def next_number(connection: sqlite3.Connection, gateway_id: str, now_ms: int) -> int:
    """Above all before. It follows the clock, so that it is so for a collector, too, that was restored."""
    [highest] = connection.execute(
        "SELECT coalesce(max(number), 0) FROM configuration WHERE gateway_id = ?", (gateway_id,)
    ).fetchone()
    return max(int(highest) + 1, now_ms)


def active_digest(connection: sqlite3.Connection, site_id: int, gateway_id: str) -> str:
    """Of what runs at the gateway, as far as it has told; "" when it has not."""
    row = connection.execute(
        "SELECT digest FROM active_configuration WHERE site_id = ? AND gateway_id = ? "
        "ORDER BY active_ms DESC, number DESC LIMIT 1",
        (site_id, gateway_id),
    ).fetchone()
    return "" if row is None else str(row[0])


def add(connection: sqlite3.Connection, new: NewPush) -> None:
    """Keep it, waiting for its gateway."""
    pushed = new.pushed
    connection.execute(
        "INSERT INTO configuration (site_id, id, gateway_id, number, base, packed, why, issued_by, "
        "issued_ms, expires_ms, confirm_s, state, outcome, changed_ms, request_digest, signed) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}', ?, ?, ?)",
        (
            new.site_id,
            pushed.id,
            pushed.gateway_id,
            pushed.number,
            pushed.base,
            pushed.packed,
            pushed.why,
            pushed.issued_by,
            pushed.issued_ms,
            pushed.expires_ms,
            pushed.confirm_s,
            WAITING,
            pushed.issued_ms,
            new.request_digest,
            new.signed,
        ),
    )
    PUSHES.note(connection, new.site_id, pushed.id, WAITING, pushed.issued_by, pushed.why, pushed.issued_ms)


def settle(
    connection: sqlite3.Connection, site_id: int, gateway_id: str, events: Sequence[Event], now_ms: int
) -> None:
    """Take over what a gateway says of configurations: what came of those that were pushed, and what it runs.

    What is no such report, or speaks of another gateway's push, changes nothing: it stays an event.
    """
    for event in events:
        report = _report(event)
        if report is None:
            continue
        if report.id:
            _settle_push(connection, site_id, gateway_id, event, report, now_ms)
        if report.version and event.kind != "config.refused":
            _note_active(connection, site_id, gateway_id, event, report)


def _report(event: Event) -> ConfigReport | None:
    if event.kind not in OUTCOMES or event.device_id != GATEWAY:
        return None
    try:
        report = msgspec.convert(event.data, ConfigReport)
    except msgspec.ValidationError:
        return None
    is_odd = len(report.by) > MOST_TEXT or len(report.digest) > 64 or not 0 <= report.version < 1 << 31
    return None if is_odd or (report.id and not ID.fullmatch(report.id)) else report


def _settle_push(
    connection: sqlite3.Connection,
    site_id: int,
    gateway_id: str,
    event: Event,
    report: ConfigReport,
    now_ms: int,
) -> None:
    state: str = OUTCOMES[event.kind]
    if report.code == EXPIRED:
        state = EXPIRED
    known = connection.execute(
        "SELECT gateway_id, state FROM configuration WHERE site_id = ? AND id = ?", (site_id, report.id)
    ).fetchone()
    if known is None or known[0] != gateway_id or STATES.index(state) <= STATES.index(known[1]):
        return
    told: dict[str, Any] = {"at_ms": event.measured_ms, "version": report.version, "digest": report.digest}
    if report.code:
        told |= {"code": report.code[:MOST_TEXT], "detail": report.detail[:MOST_TEXT]}
    if report.problems:
        told["problems"] = [problem[:MOST_TEXT] for problem in report.problems[:_MAX_PROBLEMS]]
    PUSHES.change(connection, site_id, report.id, state, gateway_id, report.detail, now_ms, told)


def _note_active(
    connection: sqlite3.Connection, site_id: int, gateway_id: str, event: Event, report: ConfigReport
) -> None:
    connection.execute(
        "INSERT INTO active_configuration (site_id, gateway_id, number, version, digest, origin, by, why, "
        "push_id, active_ms, packed) SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? "
        "FROM active_configuration WHERE site_id = ?1 AND gateway_id = ?2 "
        "ON CONFLICT (site_id, gateway_id, version, digest) DO NOTHING",
        (
            site_id,
            gateway_id,
            report.version,
            report.digest,
            report.origin,
            report.by,
            (report.why or report.detail)[:MOST_TEXT],
            report.id,
            event.measured_ms,
            _packed(report),
        ),
    )


def _packed(report: ConfigReport) -> bytes | None:
    """The files, when they are what the digest says; else nobody is to take them for what is active."""
    if not report.content:
        return None
    try:
        files = files_told(report.content)
    except ConfigurationInvalid:
        return None
    return pack_files(files) if digest_of(files) == report.digest else None
