"""Tells what came before: a gateway whose store began a new epoch sends what it had in doubt once more.

A number of an earlier epoch may stand for another item, for a store that was restored from a copy goes on
with numbers that its original has used. Number and content together are the same item.
"""

import sqlite3
from typing import Final

from collector.intake.rows import EventRow, Rows, SetAside
from collector.intake.sequence import Epoch

_OTHER_EPOCHS: Final = (
    "epoch_id IN (SELECT id FROM epoch WHERE site_id = ?1 AND gateway_id = ?2 AND id <> ?3)"
)
_EVENT: Final = (  # of constant texts
    "SELECT 1 FROM event WHERE site_id = ?1 AND seq = ?4 AND device_id = ?5 AND kind = ?6 AND data = ?7 "  # noqa: S608
    f"AND measured_ms = ?8 AND received_ms = ?9 AND {_OTHER_EPOCHS}"
)
_SET_ASIDE: Final = (  # of constant texts
    "SELECT 1 FROM quarantine WHERE site_id = ?1 AND seq = ?4 AND item = ?5 "  # noqa: S608
    f"AND {_OTHER_EPOCHS}"
)


def leave_out_known(connection: sqlite3.Connection, epoch: Epoch, gateway_id: str, rows: Rows) -> None:
    """Take events and set-aside items out of `rows` that are stored already, under an earlier epoch.

    Readings need none of this: point and time tell them apart.
    """

    def is_known_event(row: EventRow) -> bool:
        said = row.event
        return _exists(
            connection,
            _EVENT,
            epoch,
            gateway_id,
            (row.seq, said.device_id, said.kind, row.data, said.measured_ms, said.received_ms),
        )

    def is_known_aside(row: SetAside) -> bool:
        return _exists(connection, _SET_ASIDE, epoch, gateway_id, (row.seq, row.item))

    rows.events = [row for row in rows.events if not is_known_event(row)]
    rows.set_aside = [row for row in rows.set_aside if not is_known_aside(row)]


def _exists(
    connection: sqlite3.Connection, query: str, epoch: Epoch, gateway_id: str, more: tuple[int | str, ...]
) -> bool:
    found = connection.execute(query, (epoch.site_id, gateway_id, epoch.id, *more)).fetchone()
    return found is not None
