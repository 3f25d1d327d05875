"""Says no: with a code that a gateway acts on, and a row that tells people how often and since when."""

import sqlite3

from models.errors import BadInput, RetryLater

MAX_DETAIL = 500


class Refused(BadInput):
    """Something that a gateway sent is not accepted. `code` is one of `models.protocol.Code`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class IntakeBusy(RetryLater):
    """As many batches as the collector holds at once are waiting already."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the collector has its hands full; send the same again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


def record(connection: sqlite3.Connection, gateway_id: str, code: str, detail: str, now_ms: int) -> None:
    """One row for each gateway and code, so that nobody can fill the disk with refusals."""
    connection.execute(
        "INSERT INTO refusal (gateway_id, code, detail, count, first_ms, last_ms) "
        "VALUES (?1, ?2, ?3, 1, ?4, ?4) "
        "ON CONFLICT (gateway_id, code) "
        "DO UPDATE SET detail = excluded.detail, count = count + 1, last_ms = excluded.last_ms",
        (gateway_id, code, detail[:MAX_DETAIL], now_ms),
    )
