"""What waits for a gateway to fetch it, and every step of what came of it: commands, and configurations.

Each function works in its caller's transaction, on the plain connection of `Store.bulk`.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

WAITING: Final = "waiting"  # for its gateway to fetch it
SENT: Final = "sent"  # its gateway has it
EXPIRED: Final = "expired"

COLLECTOR: Final = "collector"
"""Who has changed a state, where it was neither a person nor a gateway."""

MOST_TEXT: Final = 500  # characters of what people are told


@dataclass(frozen=True, slots=True)
class Offers:
    """One table of them, and one to which their history is only ever added. All names are words of ours."""

    table: str
    history: str
    key: str  # the column of the history that names the row of the table
    is_open: str
    """As the index of open ones has it: written out, or SQLite would look at all there ever were."""
    answer_limit_ms: int  # how long after its end one may be without answer
    no_answer: tuple[str, str]  # the state of one that has none by then, and what people are told

    def request_digest_of(self, connection: sqlite3.Connection, site_id: int, offer_id: str) -> bytes | None:
        """What the one of that id was asked for with; b"" when not here, and None when there is none."""
        row = connection.execute(
            f"SELECT coalesce(request_digest, x'') FROM {self.table} WHERE site_id = ? AND id = ?",  # noqa: S608
            (site_id, offer_id),
        ).fetchone()
        return None if row is None else bytes(row[0])

    def taken(self, connection: sqlite3.Connection, gateway_id: str, ids: Iterable[str], now_ms: int) -> None:
        """The gateway says that it has these. Those of another are not touched."""
        for offer_id in ids:
            row = connection.execute(
                f"SELECT site_id FROM {self.table} WHERE site_id = (SELECT site_id FROM gateway "  # noqa: S608
                "WHERE id = ?1) AND id = ?2 AND gateway_id = ?1 AND state = 'waiting'",
                (gateway_id, offer_id),
            ).fetchone()
            if row is not None:
                self.change(connection, row[0], offer_id, SENT, gateway_id, "", now_ms)

    def expire(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """End what was not fetched in its time, and what nobody will answer any more."""
        for site_id, offer_id, state, expires_ms in connection.execute(
            f"SELECT site_id, id, state, expires_ms FROM {self.table} "  # noqa: S608
            f"WHERE {self.is_open} AND expires_ms <= ?",
            (now_ms,),
        ).fetchall():
            if state == WAITING:
                detail = "its gateway did not take it in time"
                self.change(connection, site_id, offer_id, EXPIRED, COLLECTOR, detail, now_ms)
            elif expires_ms <= now_ms - self.answer_limit_ms:
                self.change(
                    connection, site_id, offer_id, self.no_answer[0], COLLECTOR, self.no_answer[1], now_ms
                )

    def change(
        self,
        connection: sqlite3.Connection,
        site_id: int,
        offer_id: str,
        state: str,
        by: str,
        detail: str,
        now_ms: int,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        """Give it another state, and note who did."""
        connection.execute(
            f"UPDATE {self.table} SET state = ?, changed_ms = ?, outcome = coalesce(?, outcome) "  # noqa: S608
            "WHERE site_id = ? AND id = ?",
            (state, now_ms, None if outcome is None else as_json(outcome), site_id, offer_id),
        )
        self.note(connection, site_id, offer_id, state, by, detail, now_ms)

    def note(
        self,
        connection: sqlite3.Connection,
        site_id: int,
        offer_id: str,
        state: str,
        by: str,
        detail: str,
        now_ms: int,
    ) -> None:
        """Add a step to its history."""
        connection.execute(
            f"INSERT INTO {self.history} (site_id, {self.key}, number, state, by, detail, at_ms) "  # noqa: S608
            f"SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?, ?, ?, ? FROM {self.history} "
            f"WHERE site_id = ?1 AND {self.key} = ?2",
            (site_id, offer_id, state, by, detail[:MOST_TEXT], now_ms),
        )


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
