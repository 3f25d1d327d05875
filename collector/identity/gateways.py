"""What the collector knows of its gateways' identities: their keys, one after the other, and who did what."""

import getpass
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.store.engine import Store
from collector.store.schema import gateway, gateway_change, gateway_key
from models.errors import NeedsAHuman

ACTIVE: Final = "active"
REVOKED: Final = "revoked"

_ID = re.compile(r"gw-[0-9a-f]{12}")


class NoSuchGateway(NeedsAHuman):
    """There is no gateway of that id."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key of a gateway. Envelopes that it has signed are its gateway's for ever."""

    public_key: bytes
    is_used: bool
    ends_ms: int  # of its certificate


@dataclass(frozen=True, slots=True)
class Voucher:
    """What an earlier key has signed of a new one (`models.protocol.next_key_statement`)."""

    old_key: bytes
    proof: bytes


def new_gateway_id() -> str:
    return f"gw-{secrets.token_hex(6)}"


def is_gateway_id(text: str) -> bool:
    """Whether a collector gives such ids; they stand in addresses, topics and conditions of alerts."""
    return _ID.fullmatch(text) is not None


async def keys_of(connection: AsyncConnection, gateway_id: str) -> list[KnownKey]:
    """Its keys, the newest first; none for a gateway that is not known."""
    query = (
        select(gateway_key.c.public_key, gateway_key.c.used_ms, gateway_key.c.ends_ms)
        .where(gateway_key.c.gateway_id == gateway_id)
        .order_by(gateway_key.c.number.desc())
    )
    return [
        KnownKey(row.public_key, row.used_ms is not None, row.ends_ms)
        for row in await connection.execute(query)
    ]


async def certificate_of(connection: AsyncConnection, gateway_id: str, public_key: bytes) -> bytes | None:
    """The certificate (DER) that this key of the gateway has, if it has one."""
    query = select(gateway_key.c.certificate).where(
        gateway_key.c.gateway_id == gateway_id, gateway_key.c.public_key == public_key
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def add_key(
    connection: AsyncConnection,
    gateway_id: str,
    public_key: bytes,
    certificate: x509.Certificate,
    now_ms: int,
    *,
    voucher: Voucher | None = None,
) -> bytes:
    """Let it be the gateway's newest key; its certificate as DER. `voucher` is kept for others to see.

    A key that came before it and was never used has no use any more.
    """
    der = certificate.public_bytes(Encoding.DER)
    unused = (gateway_key.c.gateway_id == gateway_id) & gateway_key.c.used_ms.is_(None)
    await connection.execute(delete(gateway_key).where(unused))
    newest = select(func.coalesce(func.max(gateway_key.c.number), 0)).where(
        gateway_key.c.gateway_id == gateway_id
    )
    await connection.execute(
        insert(gateway_key).values(
            gateway_id=gateway_id,
            number=(await connection.execute(newest)).scalar_one() + 1,
            public_key=public_key,
            certificate=der,
            issued_ms=now_ms,
            ends_ms=round(certificate.not_valid_after_utc.timestamp() * 1000),
            old_key=None if voucher is None else voucher.old_key,
            proof=None if voucher is None else voucher.proof,
        )
    )
    return der


async def note_used(connection: AsyncConnection, gateway_id: str, public_key: bytes, now_ms: int) -> None:
    """Keep that the gateway has shown that it has this key and its certificate."""
    mine = (gateway_key.c.gateway_id == gateway_id) & (gateway_key.c.public_key == public_key)
    await connection.execute(
        update(gateway_key).where(mine, gateway_key.c.used_ms.is_(None)).values(used_ms=now_ms)
    )


async def note_change(
    connection: AsyncConnection, *, gateway_id: str, change: str, by: str, now_ms: int, detail: str = ""
) -> None:
    """Put on record, in the transaction of the change itself, who changed what."""
    site_id = select(gateway.c.site_id).where(gateway.c.id == gateway_id).scalar_subquery()
    await connection.execute(
        insert(gateway_change).values(
            site_id=site_id, gateway_id=gateway_id, change=change, by=by, detail=detail, at_ms=now_ms
        )
    )


async def revoke_gateway(store: Store, gateway_id: str, *, by: str, now_ms: int) -> bool:
    """From now on nothing of this gateway is accepted. False when it was revoked before."""
    async with store.write() as connection:
        changed = await connection.execute(
            update(gateway)
            .where(gateway.c.id == gateway_id, gateway.c.state == ACTIVE)
            .values(state=REVOKED, revoked_ms=now_ms)
        )
        if changed.rowcount:
            await note_change(connection, gateway_id=gateway_id, change=REVOKED, by=by, now_ms=now_ms)
            return True
        known = await connection.execute(select(gateway.c.id).where(gateway.c.id == gateway_id))
        if known.one_or_none() is None:
            raise NoSuchGateway(f"there is no gateway {gateway_id!r}; see `collector gateways`")
    return False


def pem_of(certificate_der: bytes) -> str:
    return x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM).decode()


def at(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000, UTC)


def at_the_command_line() -> str:
    """Who runs this command, for the record."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        name = str(os.getuid())
    return f"{name}, at the command line"
