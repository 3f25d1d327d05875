"""Gateways that another collector speaks for: which they are, by which keys they sign, and who may send it.

Ownership is by site: whoever is the collector of a site here speaks for the gateways that were announced
there, and for no others. Their sites are `<its site>:<their site>`, so codes of two counties never meet.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from collector.identity.gateways import ACTIVE, is_gateway_id
from collector.identity.sites import is_site_code, is_time_zone
from collector.identity.tokens import COLLECTOR, GATEWAY
from collector.intake.refusals import Refused
from models.announcement import MOST_KEYS, AnnouncedKey, Announcement
from models.envelope import GM, SUITES
from models.protocol import Code, next_key_statement
from models.signing import KeyUnusable, is_signed_by, key_bytes
from models.sm2 import Sm2PublicKey

SEPARATOR: Final = ":"
"""Between the codes of a site's collector and of the site there; no code that is given here has it."""

_MOST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Announced:
    """What a collector has said of a gateway, as far as the database is not needed to judge it."""

    said: Announcement
    keys: list["_Key"]


@dataclass(frozen=True, slots=True)
class _Key:
    public_key: bytes
    said: AnnouncedKey
    ends_ms: int


def check_announcement(said: Announcement, *, authority: bytes) -> Announced:
    """Raise Refused unless the CA of the collector has certified each of the gateway's keys."""
    if not is_gateway_id(said.gateway_id) or not is_site_code(said.site_code):
        raise Refused(Code.MALFORMED, "the id of the gateway or the code of its site is none")
    if not all(0 < len(name) <= _MOST_TEXT for name in (said.name, said.site_name)):
        raise Refused(Code.MALFORMED, "the name of the gateway or of its site is empty or too long")
    if said.suite not in {suite.name for suite in SUITES.values()}:
        raise Refused(Code.MALFORMED, f"there is no suite {said.suite[:_MOST_TEXT]!r}")
    if not is_time_zone(said.timezone):
        raise Refused(
            Code.MALFORMED,
            f"this collector knows no time zone {said.timezone[:_MOST_TEXT]!r}; is its tzdata too old?",
        )
    if not 0 < len(said.keys) <= MOST_KEYS:
        raise Refused(Code.MALFORMED, f"{len(said.keys)} keys; from 1 to {MOST_KEYS}")
    if (said.sm2_key is not None) != (said.suite == GM.name):
        raise Refused(Code.MALFORMED, "a gateway of suite gm has an SM2 key, and no other has")
    try:
        if said.sm2_key is not None:
            Sm2PublicKey(said.sm2_key)
    except ValueError:
        raise Refused(Code.MALFORMED, "the SM2 key is none") from None
    issuer = x509.load_der_x509_certificate(authority)
    return Announced(said, [_certified(key, said.gateway_id, issuer) for key in said.keys])


def store_announcement(connection: sqlite3.Connection, announced: Announced, by: str, now_ms: int) -> None:
    """Make the gateway known, or learn its newer keys. The same again changes nothing. Raise Refused.

    A key that comes later is taken only when one that is known vouches for it: whoever has the collector can
    let a gateway be read there, and cannot forge what it says.
    """
    said = announced.said
    owner_id, owner_code = _collector_site(connection, by)
    row = connection.execute(
        "SELECT owner_site_id, suite, sm2_key, site_id FROM gateway WHERE id = ?", (said.gateway_id,)
    ).fetchone()
    site_id = _site(connection, f"{owner_code}{SEPARATOR}{said.site_code}", said)
    if row is None:
        connection.execute(
            "INSERT INTO gateway (id, site_id, name, state, kind, owner_site_id, suite, sm2_key, seal_key, "
            "enrolled_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, x'', ?)",
            (
                said.gateway_id,
                site_id,
                said.name,
                ACTIVE,
                GATEWAY,
                owner_id,
                said.suite,
                said.sm2_key,
                now_ms,
            ),
        )
        _note(connection, site_id, said.gateway_id, "announced", by, now_ms)
    elif row[0] != owner_id:
        raise Refused(Code.FOREIGN_GATEWAY, f"the gateway {said.gateway_id} belongs to somebody else")
    elif row[1:] != (said.suite, said.sm2_key, site_id):
        raise Refused(
            Code.FOREIGN_GATEWAY,
            f"the gateway {said.gateway_id} is known here at another site, or with another suite or SM2 key",
        )
    else:
        connection.execute("UPDATE gateway SET name = ? WHERE id = ?", (said.name, said.gateway_id))
    _learn(connection, announced, now_ms, is_new=row is None)


def may_speak(connection: sqlite3.Connection, gateway_id: str, by: str) -> int:
    """The site of a gateway that the collector `by` speaks for. Raise Refused."""
    owner_id, _ = _collector_site(connection, by)
    row = connection.execute(
        "SELECT site_id, state, owner_site_id FROM gateway WHERE id = ?", (gateway_id,)
    ).fetchone()
    if row is None:
        raise Refused(Code.UNKNOWN_GATEWAY, f"the gateway {gateway_id} was not announced")
    if row[2] != owner_id:
        raise Refused(Code.FOREIGN_GATEWAY, f"the gateway {gateway_id} belongs to somebody else")
    if row[1] != ACTIVE:
        raise Refused(Code.NOT_WANTED, f"the gateway {gateway_id} has been revoked here")
    return int(row[0])


def note_heard(connection: sqlite3.Connection, by: str, now_ms: int, skew_ms: int | None) -> None:
    """A collector that forwards has been heard."""
    connection.execute(
        "UPDATE gateway SET last_seen_ms = ?, clock_skew_ms = coalesce(?, clock_skew_ms) WHERE id = ?",
        (now_ms, skew_ms, by),
    )


def _certified(key: AnnouncedKey, gateway_id: str, issuer: x509.Certificate) -> _Key:
    try:
        certificate = x509.load_der_x509_certificate(key.certificate)
        certificate.verify_directly_issued_by(issuer)
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        public_key = key_bytes(certificate.public_key())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, KeyUnusable):
        raise Refused(
            Code.BAD_SIGNATURE, f"a key of {gateway_id} is not certified by the collector's own CA"
        ) from None
    if [name.value for name in names] != [gateway_id]:
        raise Refused(Code.FOREIGN_GATEWAY, f"a certificate is not for {gateway_id}")
    return _Key(public_key, key, round(certificate.not_valid_after_utc.timestamp() * 1000))


def _learn(connection: sqlite3.Connection, announced: Announced, now_ms: int, *, is_new: bool) -> None:
    gateway_id = announced.said.gateway_id
    rows = connection.execute(
        "SELECT number, public_key FROM gateway_key WHERE gateway_id = ? ORDER BY number", (gateway_id,)
    ).fetchall()
    number, known = (rows[-1][0] if rows else 0), {row[1] for row in rows}
    for key in announced.keys:
        if key.public_key in known:
            continue
        if not (is_new and not known) and not _is_vouched_for(key, gateway_id, known):
            raise Refused(
                Code.FOREIGN_GATEWAY, f"another key for {gateway_id}, for which none that is known vouches"
            )
        number += 1
        connection.execute(
            "INSERT INTO gateway_key (gateway_id, number, public_key, certificate, issued_ms, ends_ms, "
            "used_ms, old_key, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                gateway_id,
                number,
                key.public_key,
                key.said.certificate,
                now_ms,
                key.ends_ms,
                now_ms,
                key.said.old_key or None,
                key.said.proof or None,
            ),
        )
        known.add(key.public_key)


def _is_vouched_for(key: _Key, gateway_id: str, known: set[bytes]) -> bool:
    statement = next_key_statement(gateway_id, key.public_key)
    return key.said.old_key in known and is_signed_by(key.said.old_key, key.said.proof, statement)


def _collector_site(connection: sqlite3.Connection, collector_id: str) -> tuple[int, str]:
    row = connection.execute(
        "SELECT site.id, site.code, gateway.state, gateway.kind FROM gateway "
        "JOIN site ON site.id = gateway.site_id WHERE gateway.id = ?",
        (collector_id,),
    ).fetchone()
    if row is None or row[2] != ACTIVE:
        raise Refused(Code.REVOKED, f"the collector {collector_id} has been revoked")
    if row[3] != COLLECTOR:
        raise Refused(Code.FOREIGN_GATEWAY, f"{collector_id} is no collector and speaks for itself alone")
    return int(row[0]), str(row[1])


def _site(connection: sqlite3.Connection, code: str, said: Announcement) -> int:
    connection.execute(
        "INSERT INTO site (code, name, timezone, suite) VALUES (?, ?, ?, ?) ON CONFLICT (code) "
        "DO UPDATE SET name = excluded.name, timezone = excluded.timezone",
        (code, said.site_name, said.timezone, said.suite),
    )
    [site_id] = connection.execute("SELECT id FROM site WHERE code = ?", (code,)).fetchone()
    return int(site_id)


def _note(
    connection: sqlite3.Connection, site_id: int, gateway_id: str, change: str, by: str, now_ms: int
) -> None:
    connection.execute(
        'INSERT INTO gateway_change (site_id, gateway_id, change, "by", detail, at_ms) '
        "VALUES (?, ?, ?, ?, '', ?)",
        (site_id, gateway_id, change, by, now_ms),
    )
