"""Secrets that the collector hands out once and then knows only by their SHA-256.

A plain hash is enough: a secret is 256 random bits, which nobody finds by trying.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.engine import Store
from collector.store.schema import api_token, enrollment_token, site
from models.envelope import Suite, suite_named
from models.errors import BadInput, NeedsAHuman
from models.offline import token_name
from models.protocol import Code
from models.times import DAY_MS, HOUR_MS

GATEWAY: Final = "gateway"
COLLECTOR: Final = "collector"
"""What a token admits: a gateway, or a collector that forwards what its gateways have sent."""

API_TOKEN_PREFIX: Final = "ght_"  # noqa: S105  # lets a scanner of texts find a leaked one
SCOPES: Final = ("read", "alerts:write", "commands:write", "config:write", "gateways:write")
MAX_ENROLLMENT_HOURS: Final = 24
MAX_API_DAYS: Final = 3650


class TokenRefused(BadInput):
    """An enrolment token that cannot be used. `code` is one of the `Code.TOKEN_…`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class TokenMistake(NeedsAHuman):
    """What was asked of a token is not possible; the message says what is."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an enrolment token admits its bearer to."""

    site_id: int
    site_code: str
    suite: Suite
    gateway_name: str


@dataclass(frozen=True, slots=True)
class ApiIdentity:
    """What the bearer of an API token may do."""

    name: str
    scopes: frozenset[str]
    sites: frozenset[str] | None  # codes; None: all


def secret_hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def issue_enrollment_secret(
    store: Store, *, site_code: str, gateway_name: str, hours: float, now_ms: int, kind: str = GATEWAY
) -> str:
    """A secret for one enrolment at that site. Only its hash is kept.

    `kind` is GATEWAY, or COLLECTOR for one that is going to forward what it has.
    """
    if not 0 < hours <= MAX_ENROLLMENT_HOURS:
        raise TokenMistake(
            f"a token is valid for more than 0 and at most {MAX_ENROLLMENT_HOURS} hours, not {hours:g}"
        )
    secret = secrets.token_urlsafe(32)
    async with store.write() as connection:
        site_id = await _site_id(connection, site_code)
        await connection.execute(
            insert(enrollment_token).values(
                secret_hash=secret_hash(secret),
                site_id=site_id,
                gateway_name=gateway_name,
                kind=kind,
                created_ms=now_ms,
                expires_ms=now_ms + round(hours * HOUR_MS),
            )
        )
    return secret


async def spend_enrollment_secret(
    connection: AsyncConnection, digest: bytes, *, gateway_id: str, now_ms: int, kind: str = GATEWAY
) -> Admission:
    """Use up the token with this `secret_hash`, in the transaction of the enrolment. Raise TokenRefused.

    One statement decides, so of two enrolments at once exactly one finds the token unused.
    """
    spent = await connection.execute(
        update(enrollment_token)
        .where(
            enrollment_token.c.secret_hash == digest,
            enrollment_token.c.kind == kind,
            enrollment_token.c.used_ms.is_(None),
            enrollment_token.c.expires_ms > now_ms,
        )
        .values(used_ms=now_ms, used_by=gateway_id)
        .returning(enrollment_token.c.site_id, enrollment_token.c.gateway_name)
    )
    row = spent.one_or_none()
    if row is None:
        raise await _why_not(connection, digest, kind)
    at = (await connection.execute(select(site.c.code, site.c.suite).where(site.c.id == row.site_id))).one()
    return Admission(row.site_id, at.code, suite_named(at.suite), row.gateway_name)


async def spent_enrollment_secret(
    connection: AsyncConnection, digest: bytes, *, now_ms: int
) -> tuple[str, Admission] | None:
    """The gateway that has used this token up, while the token would still be good."""
    token = enrollment_token.c
    query = (
        select(token.used_by, token.site_id, token.gateway_name, site.c.code, site.c.suite)
        .join_from(enrollment_token, site)
        .where(token.secret_hash == digest, token.used_by.is_not(None), token.expires_ms > now_ms)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return row.used_by, Admission(row.site_id, row.code, suite_named(row.suite), row.gateway_name)


async def named_secret_hash(connection: AsyncConnection, name: str) -> bytes:
    """Of the token that an offline request names. Raise TokenRefused."""
    for (digest,) in await connection.execute(select(enrollment_token.c.secret_hash)):
        if token_name(digest) == name:
            return bytes(digest)
    raise TokenRefused(Code.TOKEN_UNKNOWN, "this collector never gave out that token")


async def _why_not(connection: AsyncConnection, digest: bytes, kind: str) -> TokenRefused:
    query = select(enrollment_token.c.used_ms, enrollment_token.c.kind).where(
        enrollment_token.c.secret_hash == digest
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return TokenRefused(Code.TOKEN_UNKNOWN, "this collector never gave out that token")
    if row.kind != kind:
        return TokenRefused(Code.TOKEN_OTHER_KIND, f"the token is for a {row.kind}, and a {kind} has sent it")
    if row.used_ms is not None:
        return TokenRefused(Code.TOKEN_USED, "the token has been used; it is good for one gateway")
    return TokenRefused(Code.TOKEN_EXPIRED, "the token is too old")


async def issue_api_token(
    store: Store,
    *,
    name: str,
    scopes: Sequence[str],
    sites: Sequence[str] | None,
    days: float,
    now_ms: int,
) -> str:
    """The text of a new token, which cannot be seen again. `sites` are codes; None means all."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise TokenMistake(f"scopes are {', '.join(SCOPES)}; not {', '.join(unknown) or 'none at all'}")
    if not 0 < days <= MAX_API_DAYS:
        raise TokenMistake(f"a token is valid for more than 0 and at most {MAX_API_DAYS} days, not {days:g}")
    text = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
    async with store.write() as connection:
        for code in sites or ():
            await _site_id(connection, code)
        try:
            await connection.execute(
                insert(api_token).values(
                    name=name,
                    secret_hash=secret_hash(text),
                    scopes=sorted(set(scopes)),
                    sites=null() if sites is None else sorted(set(sites)),
                    created_ms=now_ms,
                    expires_ms=now_ms + round(days * DAY_MS),
                )
            )
        except IntegrityError:
            raise TokenMistake(f"there is a token named {name!r} already; choose another name") from None
    return text


async def verify_api_token(store: Store, text: str, *, now_ms: int) -> ApiIdentity | None:
    """Whose token this is; None when it is unknown, expired or revoked."""
    query = select(api_token.c.name, api_token.c.scopes, api_token.c.sites).where(
        api_token.c.secret_hash == secret_hash(text),
        api_token.c.expires_ms > now_ms,
        api_token.c.revoked_ms.is_(None),
    )
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return ApiIdentity(row.name, frozenset(row.scopes), None if row.sites is None else frozenset(row.sites))


async def list_api_tokens(
    store: Store,
) -> Sequence[Row[str, list[str], list[str] | None, int, int, int | None]]:
    """Name, scopes, sites and times of all tokens; the tokens themselves are not known."""
    columns = api_token.c
    query = select(
        columns.name,
        columns.scopes,
        columns.sites,
        columns.created_ms,
        columns.expires_ms,
        columns.revoked_ms,
    ).order_by(columns.name)
    async with store.read() as connection:
        return (await connection.execute(query)).all()


async def revoke_api_token(store: Store, name: str, *, now_ms: int) -> None:
    """Raise TokenMistake when there is none of that name. Revoking twice keeps the first time."""
    async with store.write() as connection:
        changed = await connection.execute(
            update(api_token)
            .where(api_token.c.name == name, api_token.c.revoked_ms.is_(None))
            .values(revoked_ms=now_ms)
        )
        known = await connection.execute(select(api_token.c.id).where(api_token.c.name == name))
        if not changed.rowcount and known.one_or_none() is None:
            raise TokenMistake(f"there is no token named {name!r}; see `collector api-token list`")


async def _site_id(connection: AsyncConnection, code: str) -> int:
    rows = (await connection.execute(select(site.c.id, site.c.code).order_by(site.c.code))).all()
    for row in rows:
        if row.code == code:
            return int(row.id)
    known = ", ".join(row.code for row in rows)
    raise TokenMistake(
        f"there is no site {code!r}; "
        + (f"have: {known}" if known else "make one with `collector site add CODE NAME`")
    )
