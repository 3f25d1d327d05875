"""The record of what a higher collector may have, is still to get, and has acknowledged."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Row, text

from collector.forward.settings import Share
from collector.store.engine import Store

OLDEST: Final = 24
NEWEST: Final = 8
"""Of what waits, in one round: the backlog goes in order, and what is live does not wait for its end."""

FILL: Final = 2000  # rows of a backlog in one transaction: gateways must not wait for it


@dataclass(frozen=True, slots=True)
class Due:
    """An envelope that is to be sent."""

    id: int
    site_id: int
    epoch_id: int
    number: int
    gateway_id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The envelope itself, as its gateway has sealed it."""

    digest: bytes
    after: int  # the last item of this epoch before it that is shared; 0 for none
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far it is."""

    gateways: int  # that are shared
    waiting: int
    oldest_ms: int | None  # when the oldest that waits came here
    refused: int
    last_ms: int | None  # when the last receipt came

    def is_late(self, now_ms: int, allowed_ms: float) -> bool:
        """Whether something waits and nothing got through for so long; a backlog under way is not late."""
        if self.oldest_ms is None:
            return False
        return now_ms - max(self.oldest_ms, self.last_ms or 0) > allowed_ms


class Book:
    """For one higher collector. Every change is one transaction; the same again changes nothing."""

    def __init__(self, store: Store, upstream: str) -> None:
        self._store, self._upstream = store, upstream

    async def begin(self, share: Share, *, since_ms: int | None, now_ms: int) -> None:
        """Take what the settings say: what they name for the first time from now on, or from `since_ms`."""
        await self._store.bulk(partial(_keep_rules, self._upstream, share.rules, since_ms, now_ms))

    async def match(self, share: Share, *, now_ms: int) -> None:
        """Find the gateways that are shared now: those that were not before, and those that are no more."""
        async with self._store.read() as connection:
            wanted = {
                row.id: row.since_ms
                for row in await connection.execute(text(_WANTED), {"upstream": self._upstream})
                if row.id not in share.leave_out
            }
            query = text("SELECT gateway_id, since_ms FROM forward_gateway WHERE upstream = :upstream")
            present = {
                row.gateway_id: row.since_ms
                for row in await connection.execute(query, {"upstream": self._upstream})
            }
        if gone := present.keys() - wanted.keys():
            await self._store.bulk(partial(_unshare, self._upstream, gone))
        for gateway_id, from_ms in wanted.items():
            if gateway_id not in present:
                await self._store.bulk(partial(_share, self._upstream, gateway_id, now_ms))
            if present.get(gateway_id, now_ms) > from_ms:
                await self._fill(gateway_id, from_ms)

    async def due(self, but: Collection[str]) -> list[Due]:
        """What is to be sent now, the oldest first; nothing of the gateways in `but`."""
        marks = {f"but{number}": gateway_id for number, gateway_id in enumerate(but)}
        left_out = f"AND gateway_id NOT IN ({', '.join(f':{mark}' for mark in marks)})" if marks else ""
        found: dict[int, Due] = {}
        async with self._store.read() as connection:
            for order, most in (("ASC", OLDEST), ("DESC", NEWEST)):
                query = (  # of constant texts
                    "SELECT id, site_id, epoch_id, number, gateway_id FROM forward "  # noqa: S608
                    f"WHERE upstream = :upstream AND sent_ms IS NULL AND refused IS NULL {left_out} "
                    f"ORDER BY id {order} LIMIT {most}"
                )
                rows = await connection.execute(text(query), {"upstream": self._upstream, **marks})
                found |= {row.id: Due(*row) for row in rows}
        return [found[key] for key in sorted(found)]

    async def envelope(self, due: Due) -> Stored:
        async with self._store.read() as connection:
            place = {"site": due.site_id, "epoch": due.epoch_id, "number": due.number}
            row = (await connection.execute(text(_ENVELOPE), place)).one()
            query = text(_BEFORE)
            after = await connection.execute(query, {**place, "upstream": self._upstream})
            return Stored(row.digest, after.scalar_one_or_none() or 0, row.body)

    async def note_sent(self, sent: Collection[Due], now_ms: int) -> None:
        """Who is killed before this sends them again, which changes nothing there."""
        rows = [(now_ms, due.id) for due in sent]
        await self._store.bulk(
            lambda connection: connection.executemany("UPDATE forward SET sent_ms = ? WHERE id = ?", rows)
        )

    async def note_refused(self, due: Due, why: str) -> None:
        await self._store.bulk(
            lambda connection: connection.execute(
                "UPDATE forward SET refused = ? WHERE id = ?", (why, due.id)
            )
        )

    async def send_again(self, due: Due, missing: Sequence[tuple[int, int]]) -> None:
        """What the other side lacks of the epoch of `due`, as far as it was shared with it before."""
        if missing:
            await self._store.bulk(partial(_send_again, self._upstream, due, missing))

    async def retry(self) -> int:
        """Try what was refused once more; how many those are."""
        return int(await self._store.bulk(partial(_retry, self._upstream)))

    async def announced(self, gateway_id: str) -> bytes | None:
        """The digest of what was said of this gateway last."""
        query = text(
            "SELECT announced FROM forward_gateway WHERE upstream = :upstream AND gateway_id = :gateway"
        )
        async with self._store.read() as connection:
            found = await connection.execute(query, {"upstream": self._upstream, "gateway": gateway_id})
            return found.scalar_one_or_none()

    async def note_announced(self, gateway_id: str, digest: bytes) -> None:
        await self._store.bulk(
            lambda connection: connection.execute(
                "UPDATE forward_gateway SET announced = ? WHERE upstream = ? AND gateway_id = ?",
                (digest, self._upstream, gateway_id),
            )
        )

    async def standing(self) -> Standing:
        async with self._store.read() as connection:
            row = (await connection.execute(text(_STANDING), {"upstream": self._upstream})).one()
        return Standing(*row)

    async def refusals(self) -> list[Mapping[str, Any]]:
        """What the other side does not take: gateway, why, and how many envelopes."""
        query = text(
            "SELECT gateway_id, refused, count(*) AS envelopes FROM forward "
            "WHERE upstream = :upstream AND refused IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        )
        async with self._store.read() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(query, {"upstream": self._upstream})).all()
        return [dict(row._mapping) for row in rows]

    async def _fill(self, gateway_id: str, from_ms: int) -> None:
        """Note what came since `from_ms` before the gateway was shared; a kill begins it anew."""
        query = text("SELECT site_id, id FROM epoch WHERE gateway_id = :gateway ORDER BY id")
        async with self._store.read() as connection:
            epochs = (await connection.execute(query, {"gateway": gateway_id})).all()
        for site_id, epoch_id in epochs:
            last: int | None = 0
            while last is not None:
                work = partial(
                    _fill_some, self._upstream, (site_id, epoch_id, gateway_id), from_ms=from_ms, after=last
                )
                last = await self._store.bulk(work)
        await self._store.bulk(
            lambda connection: connection.execute(
                "UPDATE forward_gateway SET since_ms = ? WHERE upstream = ? AND gateway_id = ?",
                (from_ms, self._upstream, gateway_id),
            )
        )


async def share_nothing(store: Store) -> None:
    """There is no higher collector any more: from now on nothing is noted for one."""
    await store.bulk(_share_nothing)


_WANTED: Final = (
    "SELECT gateway.id, min(forward_rule.since_ms) AS since_ms FROM gateway "
    "JOIN site ON site.id = gateway.site_id JOIN forward_rule ON forward_rule.upstream = :upstream "
    "AND forward_rule.rule IN ('site:' || site.code, 'gateway:' || gateway.id) "
    # What another collector has forwarded to this one goes no further: its keys are not ours to vouch for.
    "WHERE gateway.kind = 'gateway' AND gateway.owner_site_id IS NULL GROUP BY gateway.id"
)
_ENVELOPE: Final = (
    "SELECT digest, body FROM envelope WHERE site_id = :site AND epoch_id = :epoch AND number = :number"
)
_BEFORE: Final = (
    "SELECT envelope.last_seq FROM forward JOIN envelope USING (site_id, epoch_id, number) "
    "WHERE upstream = :upstream AND site_id = :site AND epoch_id = :epoch AND number < :number "
    "ORDER BY number DESC LIMIT 1"
)
_WAITS: Final = "upstream = :upstream AND sent_ms IS NULL AND refused IS NULL"
_STANDING: Final = (  # of constant texts
    "SELECT (SELECT count(*) FROM forward_gateway WHERE upstream = :upstream), "  # noqa: S608
    f"(SELECT count(*) FROM forward WHERE {_WAITS}), "
    "(SELECT received_ms FROM forward JOIN envelope USING (site_id, epoch_id, number) "
    f"WHERE {_WAITS} ORDER BY forward.id LIMIT 1), "
    "(SELECT count(*) FROM forward WHERE upstream = :upstream AND refused IS NOT NULL), "
    "(SELECT max(sent_ms) FROM forward WHERE upstream = :upstream AND sent_ms IS NOT NULL)"
)


def _keep_rules(
    upstream: str,
    rules: Sequence[str],
    since_ms: int | None,
    now_ms: int,
    connection: sqlite3.Connection,
) -> None:
    connection.execute("DELETE FROM forward_gateway WHERE upstream <> ?", (upstream,))
    known = connection.execute("SELECT rule FROM forward_rule WHERE upstream = ?", (upstream,)).fetchall()
    connection.executemany(
        "DELETE FROM forward_rule WHERE upstream = ? AND rule = ?",
        [(upstream, rule) for (rule,) in known if rule not in rules],
    )
    from_ms = now_ms if since_ms is None else min(since_ms, now_ms)
    connection.executemany(
        "INSERT OR IGNORE INTO forward_rule (upstream, rule, since_ms) VALUES (?, ?, ?)",
        [(upstream, rule, from_ms) for rule in rules],
    )
    connection.execute(
        "UPDATE forward_rule SET since_ms = ?2 WHERE upstream = ?1 AND since_ms > ?2", (upstream, from_ms)
    )


def _share(upstream: str, gateway_id: str, now_ms: int, connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO forward_gateway (upstream, gateway_id, since_ms) VALUES (?, ?, ?)",
        (upstream, gateway_id, now_ms),
    )


def _unshare(upstream: str, gateway_ids: Collection[str], connection: sqlite3.Connection) -> None:
    """What was sent stays on record; what was not, is not going to be."""
    for gateway_id in gateway_ids:
        connection.execute(
            "DELETE FROM forward_gateway WHERE upstream = ? AND gateway_id = ?", (upstream, gateway_id)
        )
        connection.execute(
            "DELETE FROM forward WHERE upstream = ? AND gateway_id = ? AND sent_ms IS NULL",
            (upstream, gateway_id),
        )


def _share_nothing(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM forward_gateway")
    connection.execute("DELETE FROM forward_rule")
    connection.execute("DELETE FROM forward WHERE sent_ms IS NULL")


def _fill_some(
    upstream: str,
    place: tuple[int, int, str],
    connection: sqlite3.Connection,
    *,
    from_ms: int,
    after: int,
) -> int | None:
    """The number up to which the epoch was looked at; None at its end."""
    site_id, epoch_id, gateway_id = place
    rows = connection.execute(
        "SELECT number, received_ms FROM envelope WHERE site_id = ? AND epoch_id = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (site_id, epoch_id, after, FILL),
    ).fetchall()
    connection.executemany(
        "INSERT OR IGNORE INTO forward (upstream, site_id, epoch_id, number, gateway_id) "
        "VALUES (?, ?, ?, ?, ?)",
        [
            (upstream, site_id, epoch_id, number, gateway_id)
            for number, received_ms in rows
            if received_ms >= from_ms
        ],
    )
    return rows[-1][0] if len(rows) == FILL else None


def _send_again(
    upstream: str, due: Due, missing: Sequence[tuple[int, int]], connection: sqlite3.Connection
) -> None:
    connection.executemany(
        "UPDATE forward SET sent_ms = NULL WHERE upstream = ?1 AND site_id = ?2 AND epoch_id = ?3 "
        "AND sent_ms IS NOT NULL AND refused IS NULL AND number IN (SELECT number FROM envelope "
        "WHERE site_id = ?2 AND epoch_id = ?3 AND last_seq >= ?4 AND first_seq <= ?5)",
        [(upstream, due.site_id, due.epoch_id, first, last) for first, last in missing],
    )


def _retry(upstream: str, connection: sqlite3.Connection) -> int:
    return connection.execute(
        "UPDATE forward SET refused = NULL, sent_ms = NULL WHERE upstream = ? AND refused IS NOT NULL",
        (upstream,),
    ).rowcount
