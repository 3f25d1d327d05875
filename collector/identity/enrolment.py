"""Admits gateways: a token and a certificate request become a gateway that this collector knows."""

import base64
import binascii
import secrets
import time
from collections.abc import Callable

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.identity.ca import (
    DEFAULT_LIVES,
    CertificateAuthority,
    GatewayRequest,
    Lives,
    RequestRefused,
)
from collector.identity.gateways import ACTIVE, add_key, at, certificate_of, note_change, pem_of
from collector.identity.tokens import Admission, spend_enrollment_secret, spent_enrollment_secret
from collector.store.engine import Store
from collector.store.schema import gateway
from models.protocol import EnrollRequest, EnrollResponse, command_key_statement
from models.sealing import SEAL_KEY_BYTES, is_usable


def real_now_ms() -> int:
    return time.time_ns() // 1_000_000


class Enrolment:
    """Tokens and certificates live in real time, whatever clock the readings have."""

    def __init__(
        self,
        store: Store,
        authority: CertificateAuthority,
        collector_key: bytes,
        command_key: bytes,
        *,
        lives: Lives = DEFAULT_LIVES,
        now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        """With the public keys that gateways seal to, and that they obey."""
        self._store = store
        self._authority = authority
        self._collector_key = base64.b64encode(collector_key).decode()
        self._command_key = command_key
        self._lives, self._now_ms = lives, now_ms

    async def enrol(self, request: EnrollRequest) -> EnrollResponse:
        """Raise RequestRefused (the token stays good) or TokenRefused; then there is no new gateway.

        The same token with the same keys again, while it is good, gets the same answer: the first may have
        been lost.
        """
        wanted = GatewayRequest.parse(request.csr_pem)
        seal_key = _seal_key(request.seal_key)
        now_ms = self._now_ms()
        async with self._store.write() as connection:
            spent = await spent_enrollment_secret(connection, request.secret, now_ms=now_ms)
            if spent is not None:
                gateway_id, admission = spent
                certificate = await _admitted(connection, gateway_id, wanted.key, seal_key)
                if certificate is not None:
                    return self._answer(gateway_id, admission, certificate)
            return await self._admit(connection, request.secret, wanted, seal_key, now_ms)

    async def _admit(
        self, connection: AsyncConnection, secret: str, wanted: GatewayRequest, seal_key: bytes, now_ms: int
    ) -> EnrollResponse:
        gateway_id = f"gw-{secrets.token_hex(6)}"
        admission = await spend_enrollment_secret(connection, secret, gateway_id=gateway_id, now_ms=now_ms)
        await connection.execute(
            insert(gateway).values(
                id=gateway_id,
                site_id=admission.site_id,
                name=admission.gateway_name,
                state=ACTIVE,
                seal_key=seal_key,
                enrolled_ms=now_ms,
            )
        )
        certificate = self._authority.certify_gateway(
            wanted.public_key, gateway_id, at(now_ms), self._lives.gateway
        )
        der = await add_key(connection, gateway_id, wanted.key, certificate, now_ms)
        await note_change(connection, gateway_id=gateway_id, change="enrolled", by=gateway_id, now_ms=now_ms)
        return self._answer(gateway_id, admission, der)

    def _answer(self, gateway_id: str, admission: Admission, certificate: bytes) -> EnrollResponse:
        return EnrollResponse(
            gateway_id=gateway_id,
            site_code=admission.site_code,
            certificate_pem=pem_of(certificate),
            collector_key=self._collector_key,
            command_key=base64.b64encode(self._command_key).decode(),
            command_key_proof=base64.b64encode(
                self._authority.vouch(command_key_statement(gateway_id, self._command_key))
            ).decode(),
        )


async def _admitted(
    connection: AsyncConnection, gateway_id: str, public_key: bytes, seal_key: bytes
) -> bytes | None:
    """The certificate of a gateway that was admitted with just these keys, and still is."""
    query = select(gateway.c.id).where(
        gateway.c.id == gateway_id, gateway.c.seal_key == seal_key, gateway.c.state == ACTIVE
    )
    if (await connection.execute(query)).one_or_none() is None:
        return None
    return await certificate_of(connection, gateway_id, public_key)


def _seal_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused("the key for secrets in commands is not base64") from None
    if len(key) != SEAL_KEY_BYTES:
        raise RequestRefused(f"the key for secrets in commands has {len(key)} bytes, not {SEAL_KEY_BYTES}")
    if not is_usable(key):
        raise RequestRefused("nothing can be sealed to the key for secrets in commands")
    return key
