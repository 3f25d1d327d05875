"""Gives a gateway the certificate for its next key: at once while it is known, else when a person approves.

Who has lost the certificate's time, as after months in a store room, proves to have had its last key. Only
then is anything written, and at most one row for each gateway.
"""

import base64
import binascii
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.identity.ca import (
    DEFAULT_LIVES,
    CertificateAuthority,
    GatewayRequest,
    Lives,
    RequestRefused,
)
from collector.identity.enrolment import real_now_ms
from collector.identity.gateways import (
    ACTIVE,
    Voucher,
    add_key,
    at,
    certificate_of,
    keys_of,
    note_change,
    note_used,
    pem_of,
)
from collector.intake.refusals import Refused
from collector.store.engine import Store
from collector.store.schema import gateway, gateway_return, site
from models.errors import NeedsAHuman
from models.protocol import Code, NextKeyRequest, RenewResponse, ReturnResponse, next_key_statement
from models.signing import code_as_typed, is_signed_by, key_code
from models.times import DAY_MS

WAITING: Final = "waiting"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"

FORGOTTEN_AFTER_MS: Final = 30 * DAY_MS
"""A gateway that has not asked again for so long does not wait any more."""


class NoSuchRequest(NeedsAHuman):
    """No gateway asks under that code."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"no gateway asks to be taken back with the code {code[:40]!r}; see `collector gateways requests`"
        )
        self.code = code


class GatewayRevoked(NeedsAHuman):
    """The gateway that asks has been revoked."""

    def __init__(self, gateway_id: str) -> None:
        super().__init__(f"{gateway_id} has been revoked: it comes back with a new token alone")
        self.gateway_id = gateway_id


@dataclass(frozen=True, slots=True)
class _Proved:
    """Who asks, and for which key. The old key has vouched for it."""

    gateway_id: str
    voucher: Voucher
    new: GatewayRequest


class NextKeys:
    """Tokens and certificates live in real time, whatever clock the readings have."""

    def __init__(
        self,
        store: Store,
        authority: CertificateAuthority,
        *,
        lives: Lives = DEFAULT_LIVES,
        now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        self._store, self._authority = store, authority
        self._lives, self._now_ms = lives, now_ms

    async def renew(self, request: NextKeyRequest, sender: str) -> RenewResponse:
        """The certificate of the next key of `sender`. Raise Refused or RequestRefused."""
        if request.gateway_id != sender:
            raise Refused(Code.FOREIGN_GATEWAY, f"asks for {request.gateway_id!r}, sent by {sender!r}")
        async with self._store.write() as connection:
            proved = await self._proved(connection, request)
            der = await self._certificate(connection, proved, change="renewed", by=sender)
        return RenewResponse(certificate_pem=pem_of(der))

    async def take_back(self, request: NextKeyRequest) -> ReturnResponse:
        """What has been decided of it; a person has to. Raise Refused or RequestRefused."""
        async with self._store.read() as connection:  # strangers do not get to the one that writes
            await self._proved(connection, request)
        async with self._store.write() as connection:
            proved = await self._proved(connection, request)
            code, now_ms = key_code(proved.new.key), self._now_ms()
            der = await certificate_of(connection, proved.gateway_id, proved.new.key)
            if der is None:
                state = await self._asked(connection, proved, code, now_ms)
                if state == REJECTED:
                    raise Refused(Code.RETURN_REJECTED, f"somebody has rejected the request {code}")
                if state == WAITING:
                    return ReturnResponse(state=WAITING, code=code)
                der = await self._certificate(connection, proved, change="returned", by=proved.gateway_id)
            mine = gateway_return.c.gateway_id == proved.gateway_id
            await connection.execute(delete(gateway_return).where(mine, gateway_return.c.code == code))
        return ReturnResponse(state=APPROVED, code=code, certificate_pem=pem_of(der))

    async def _proved(self, connection: AsyncConnection, request: NextKeyRequest) -> _Proved:
        new = GatewayRequest.parse(request.csr_pem)
        try:
            old_key, proof = (
                base64.b64decode(text, validate=True) for text in (request.old_key, request.proof)
            )
        except (binascii.Error, ValueError):
            raise RequestRefused("the old key and its proof are not base64") from None
        query = select(gateway.c.state).where(gateway.c.id == request.gateway_id)
        state = (await connection.execute(query)).scalar_one_or_none()
        if state is None:
            raise Refused(Code.REVOKED, "this collector does not know that gateway")
        if state != ACTIVE:
            raise Refused(Code.REVOKED, f"the gateway {request.gateway_id} has been revoked")
        keys = await keys_of(connection, request.gateway_id)
        statement = next_key_statement(request.gateway_id, new.key)
        if old_key not in {key.public_key for key in keys} or not is_signed_by(old_key, proof, statement):
            raise Refused(Code.BAD_SIGNATURE, "the last key of that gateway does not vouch for the new one")
        return _Proved(request.gateway_id, Voucher(old_key, proof), new)

    async def _certificate(
        self, connection: AsyncConnection, proved: _Proved, *, change: str, by: str
    ) -> bytes:
        known = await certificate_of(connection, proved.gateway_id, proved.new.key)
        if known is not None:  # its answer was lost
            return known
        now_ms = self._now_ms()
        await note_used(connection, proved.gateway_id, proved.voucher.old_key, now_ms)
        certificate = self._authority.certify_gateway(
            proved.new.public_key, proved.gateway_id, at(now_ms), self._lives.gateway
        )
        await note_change(
            connection,
            gateway_id=proved.gateway_id,
            change=change,
            by=by,
            now_ms=now_ms,
            detail=key_code(proved.new.key),
        )
        return await add_key(
            connection, proved.gateway_id, proved.new.key, certificate, now_ms, voucher=proved.voucher
        )

    async def _asked(self, connection: AsyncConnection, proved: _Proved, code: str, now_ms: int) -> str:
        """The state of the question, which is kept; a question with another key takes its place."""
        mine = gateway_return.c.gateway_id == proved.gateway_id
        query = select(gateway_return.c.state).where(mine, gateway_return.c.code == code)
        state = (await connection.execute(query)).scalar_one_or_none()
        if state is not None:
            await connection.execute(update(gateway_return).where(mine).values(last_asked_ms=now_ms))
            return str(state)
        values = {
            "code": code,
            "public_key": proved.new.key,
            "state": WAITING,
            "asked_ms": now_ms,
            "last_asked_ms": now_ms,
        }
        statement = upsert(gateway_return).values(gateway_id=proved.gateway_id, **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=["gateway_id"], set_=values))
        await note_change(
            connection,
            gateway_id=proved.gateway_id,
            change="asked to return",
            by=proved.gateway_id,
            now_ms=now_ms,
            detail=code,
        )
        return WAITING


async def open_requests(
    connection: AsyncConnection, now_ms: int, site_ids: Collection[int] | None = None
) -> list[Row[Any]]:
    """Who asks to be taken back: gateway, its site and name, code, state and times; the oldest first."""
    query = _requests(now_ms).where(gateway.c.state == ACTIVE)
    rows = (await connection.execute(query)).all()
    return [row for row in rows if site_ids is None or row.site_id in site_ids]


def _requests(now_ms: int) -> Select[Any]:
    query: Select[Any] = (
        select(
            gateway_return,
            gateway.c.site_id,
            gateway.c.name,
            gateway.c.state.label("gateway_state"),
            gateway.c.last_seen_ms,
            site.c.code.label("site"),
            site.c.timezone,
        )
        .join_from(gateway_return, gateway, gateway_return.c.gateway_id == gateway.c.id)
        .join(site, gateway.c.site_id == site.c.id)
        .where(gateway_return.c.last_asked_ms > now_ms - FORGOTTEN_AFTER_MS)
        .order_by(gateway_return.c.asked_ms, gateway_return.c.gateway_id)
    )
    return query


async def decide(
    store: Store, code: str, *, state: str, by: str, now_ms: int, site_ids: Collection[int] | None = None
) -> str:
    """Approve or reject; the id of the gateway. Raise GatewayRevoked or NoSuchRequest."""
    code = code_as_typed(code)
    query = _requests(now_ms).where(gateway_return.c.code == code)
    async with store.write() as connection:
        rows = (await connection.execute(query)).all()
        found = [row for row in rows if site_ids is None or row.site_id in site_ids]
        if len(found) != 1:
            raise NoSuchRequest(code)
        [row] = found
        if row.gateway_state != ACTIVE:
            raise GatewayRevoked(row.gateway_id)
        if row.state != state:
            await connection.execute(
                update(gateway_return)
                .where(gateway_return.c.gateway_id == row.gateway_id)
                .values(state=state)
            )
            await note_change(
                connection, gateway_id=row.gateway_id, change=state, by=by, now_ms=now_ms, detail=code
            )
    return str(row.gateway_id)
