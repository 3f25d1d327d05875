"""One batch, from its bytes to its receipt: opened outside the transaction, stored inside it."""

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from collector.control import pushes
from collector.control.record import settle
from collector.identity.gateways import ACTIVE
from collector.intake.again import leave_out_known
from collector.intake.forwarded import may_speak, note_heard
from collector.intake.inventory import Inventory
from collector.intake.readings import store_readings
from collector.intake.refusals import Refused
from collector.intake.rows import Rows, make_rows
from collector.intake.sequence import Epoch, NumbersTaken, held, note_lost, take_numbers
from collector.intake.shared import share
from models.envelope import FIRST_PREVIOUS, ContentKey, EnvelopeRefused, Header, Origin, open_envelope
from models.protocol import Code, Quarantined, Receipt
from models.reading import Event

LOST: Final = "buffer.gap"
"""The event by which a gateway reports that it has dropped items, with the sequence numbers of the loss."""

BEGAN: Final = "buffer.epoch-began"
"""The event by which it reports a new epoch, with the numbers that it is not going to send under it."""

MOST_RANGES: Final = 1000  # of them in one event: each costs a look, while everybody else waits


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    """A batch that is certainly its gateway's, ready to be stored."""

    header: Header
    digest: bytes
    body: bytes = field(repr=False)
    rows: Rows = field(repr=False)


@dataclass(frozen=True, slots=True)
class Forwarder:
    """A collector that sends what a gateway has sealed for another one."""

    id: str
    after: int | None = None
    """It shares nothing of this epoch between this number and the batch: it is no use to ask for it."""


def open_batch(body: bytes, *, origin: Origin, content_key: ContentKey, now_ms: int) -> OpenedBatch:
    """Raise EnvelopeRefused. Touches no table; costs about 1 µs a reading."""
    try:
        header, columns = open_envelope(body, origin=origin, content_key=content_key)
    except RecursionError:
        raise EnvelopeRefused("malformed", "the data of an event is nested too deeply") from None
    rows = make_rows(columns, first_seq=header.first_seq, now_ms=now_ms)
    return OpenedBatch(header, origin.suite.digest(body), body, rows)


def store_batch(
    connection: sqlite3.Connection,
    inventory: Inventory,
    batch: OpenedBatch,
    now_ms: int,
    *,
    skew_ms: int | None = None,
    by: Forwarder | None = None,
) -> Receipt:
    """Store all of it and say so, in the caller's transaction. Raise Refused.

    `by` is who has forwarded it; `skew_ms` is that of the clock of who sends.
    The same envelope again changes no row and gets the same receipt, with `already`.
    """
    header, rows = batch.header, batch.rows
    if by is None:
        site_id = active_site(connection, header.gateway_id)
    else:
        site_id = may_speak(connection, header.gateway_id, by.id)
        note_heard(connection, by.id, now_ms, skew_ms)
        skew_ms = None
    found = connection.execute(
        "SELECT id, top_seq FROM epoch WHERE site_id = ? AND gateway_id = ? AND epoch = ?",
        (site_id, header.gateway_id, header.epoch),
    ).fetchone()
    if found is None:
        epoch, top_seq = _new_epoch(connection, site_id, header), 0
    else:
        epoch, top_seq = Epoch(site_id, found[0]), found[1]
        if _is_stored(connection, epoch, batch):
            return _receipt(connection, epoch, batch, already=True)
    _check_chain(connection, epoch, batch)
    try:
        take_numbers(connection, epoch, top_seq, header.first_seq, header.last_seq, begins=header.number == 1)
    except NumbersTaken:
        raise Refused(
            Code.CHAIN_BROKEN,
            f"items {header.first_seq} to {header.last_seq} came before, in another batch than number "
            f"{header.number}; was this gateway's store copied? `edge-agent` begins a new epoch when it is",
        ) from None
    connection.execute(
        "INSERT INTO envelope (site_id, epoch_id, number, first_seq, last_seq, digest, previous, body, "
        "received_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            epoch.site_id,
            epoch.id,
            header.number,
            header.first_seq,
            header.last_seq,
            batch.digest,
            header.previous,
            batch.body,
            now_ms,
        ),
    )
    if by is not None and by.after is not None:
        note_lost(connection, epoch, by.after + 1, header.first_seq - 1)
    share(connection, epoch, header.gateway_id, header.number)
    if rows.earlier:
        leave_out_known(connection, epoch, header.gateway_id, rows)
    things = inventory.open(connection, site_id, header.gateway_id)
    for measured_ms, description in rows.descriptions:
        things.describe(description, measured_ms)
    if rows.series_index:
        store_readings(connection, epoch, things.points(rows.series), rows, now_ms)
    _store_events(connection, epoch, header.gateway_id, rows)
    told = [row.event for row in rows.events]
    settle(connection, site_id, header.gateway_id, told, now_ms)
    pushes.settle(connection, site_id, header.gateway_id, told, now_ms)
    _store_set_aside(connection, epoch, rows, now_ms)
    connection.execute(
        "UPDATE gateway SET last_seen_ms = ?, clock_skew_ms = coalesce(?, clock_skew_ms) WHERE id = ?",
        (now_ms, skew_ms, header.gateway_id),
    )
    receipt = _receipt(connection, epoch, batch, already=False)
    things.keep()
    return receipt


def active_site(connection: sqlite3.Connection, gateway_id: str) -> int:
    """The site of a gateway that may send. Raise Refused."""
    row = connection.execute("SELECT site_id, state FROM gateway WHERE id = ?", (gateway_id,)).fetchone()
    if row is None:
        raise Refused(Code.REVOKED, f"this collector does not know the gateway {gateway_id}")
    if row[1] != ACTIVE:
        raise Refused(Code.REVOKED, f"the gateway {gateway_id} has been revoked")
    return int(row[0])


def _new_epoch(connection: sqlite3.Connection, site_id: int, header: Header) -> Epoch:
    [number] = connection.execute(
        "SELECT coalesce(max(id), 0) + 1 FROM epoch WHERE site_id = ?", (site_id,)
    ).fetchone()
    connection.execute(
        "INSERT INTO epoch (site_id, id, gateway_id, epoch) VALUES (?, ?, ?, ?)",
        (site_id, number, header.gateway_id, header.epoch),
    )
    return Epoch(site_id, number)


def _is_stored(connection: sqlite3.Connection, epoch: Epoch, batch: OpenedBatch) -> bool:
    row = connection.execute(
        "SELECT digest FROM envelope WHERE site_id = ? AND epoch_id = ? AND number = ?",
        (epoch.site_id, epoch.id, batch.header.number),
    ).fetchone()
    if row is not None and row[0] != batch.digest:
        raise Refused(
            Code.CHAIN_BROKEN,
            f"batch number {batch.header.number} of this epoch is stored with other content",
        )
    return row is not None


def _check_chain(connection: sqlite3.Connection, epoch: Epoch, batch: OpenedBatch) -> None:
    """Each envelope names the digest of the one before; those on both sides that are here must fit."""
    header = batch.header
    query = "SELECT digest, previous FROM envelope WHERE site_id = ? AND epoch_id = ? AND number = ?"
    before = connection.execute(query, (epoch.site_id, epoch.id, header.number - 1)).fetchone()
    expected = FIRST_PREVIOUS if header.number == 1 else before[0] if before else header.previous
    after = connection.execute(query, (epoch.site_id, epoch.id, header.number + 1)).fetchone()
    if header.previous != expected or (after is not None and after[1] != batch.digest):
        raise Refused(
            Code.CHAIN_BROKEN, f"batch number {header.number} does not fit the one before or after it"
        )


def _store_events(connection: sqlite3.Connection, epoch: Epoch, gateway_id: str, rows: Rows) -> None:
    connection.executemany(
        "INSERT INTO event (site_id, epoch_id, seq, gateway_id, device_id, kind, data, measured_ms, "
        "received_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                epoch.site_id,
                epoch.id,
                row.seq,
                gateway_id,
                row.event.device_id,
                row.event.kind,
                row.data,
                row.event.measured_ms,
                row.event.received_ms,
            )
            for row in rows.events
        ],
    )
    for row in rows.events:
        for first, last in _not_to_come(row.event, gateway_id):
            if isinstance(first, int) and isinstance(last, int) and 0 < first <= last < row.seq:
                note_lost(connection, epoch, first, last)


def _not_to_come(event: Event, gateway_id: str) -> list[tuple[object, object]]:
    """Ranges of numbers that a gateway says it will never send, as it says them."""
    if event.kind == LOST:
        return [(event.data.get("first_seq"), event.data.get("last_seq"))]
    if event.kind == BEGAN and event.data.get("gateway_id") == gateway_id:
        ranges = event.data.get("not_sent")
        if isinstance(ranges, list):
            return [
                (said[0], said[1])
                for said in ranges[:MOST_RANGES]
                if isinstance(said, list) and len(said) == 2
            ]
    return []


def _store_set_aside(connection: sqlite3.Connection, epoch: Epoch, rows: Rows, now_ms: int) -> None:
    connection.executemany(
        "INSERT INTO quarantine (site_id, epoch_id, seq, item, reason, quarantined_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [(epoch.site_id, epoch.id, row.seq, row.item, row.reason, now_ms) for row in rows.set_aside],
    )


def _receipt(connection: sqlite3.Connection, epoch: Epoch, batch: OpenedBatch, *, already: bool) -> Receipt:
    header = batch.header
    quarantined = connection.execute(
        "SELECT seq, reason FROM quarantine WHERE site_id = ? AND epoch_id = ? AND seq BETWEEN ? AND ? "
        "ORDER BY seq",
        (epoch.site_id, epoch.id, header.first_seq, header.last_seq),
    ).fetchall()
    now = held(connection, epoch)
    return Receipt(
        epoch=header.epoch.hex(),
        number=header.number,
        digest=batch.digest.hex(),
        stored=header.count,
        already=already,
        quarantined=[Quarantined(seq=seq, reason=reason) for seq, reason in quarantined],
        high_water=now.high_water,
        missing=now.missing,
    )
