"""Turns a token and a certificate request into a gateway that this collector knows."""

import base64
import binascii
import secrets
from datetime import UTC, datetime

from sqlalchemy import insert, select, update

from collector.identity.ca import (
    CertificateAuthority,
    GatewayRequest,
    RequestRefused,
    certificate_pem,
    serial_text,
)
from collector.identity.tokens import spend_enrollment_secret
from collector.store.engine import Store
from collector.store.schema import gateway
from models.errors import NeedsAHuman
from models.protocol import EnrollRequest, EnrollResponse, command_key_statement
from models.sealing import SEAL_KEY_BYTES, is_usable

ACTIVE = "active"
REVOKED = "revoked"


class NoSuchGateway(NeedsAHuman):
    """There is no gateway of that id."""


class Enrolment:
    """Admits gateways. Tokens and certificates live in real time, whatever clock the readings have."""

    def __init__(
        self, store: Store, authority: CertificateAuthority, collector_key: bytes, command_key: bytes
    ) -> None:
        """With the public keys that gateways seal to, and that they obey."""
        self._store = store
        self._authority = authority
        self._collector_key = base64.b64encode(collector_key).decode()
        self._command_key = command_key

    async def enrol(self, request: EnrollRequest) -> EnrollResponse:
        """Raise RequestRefused (the token stays good) or TokenRefused; then there is no new gateway."""
        wanted = GatewayRequest.parse(request.csr_pem)
        seal_key = _seal_key(request.seal_key)
        now = datetime.now(UTC)
        now_ms = int(now.timestamp() * 1000)
        gateway_id = f"gw-{secrets.token_hex(6)}"
        certificate = self._authority.certify_gateway(wanted, gateway_id, now)
        async with self._store.write() as connection:
            admission = await spend_enrollment_secret(
                connection, request.secret, gateway_id=gateway_id, now_ms=now_ms
            )
            await connection.execute(
                insert(gateway).values(
                    id=gateway_id,
                    site_id=admission.site_id,
                    name=admission.gateway_name,
                    state=ACTIVE,
                    public_key=wanted.public_key.public_bytes_raw(),
                    seal_key=seal_key,
                    certificate_serial=serial_text(certificate),
                    enrolled_ms=now_ms,
                )
            )
        return EnrollResponse(
            gateway_id=gateway_id,
            site_code=admission.site_code,
            certificate_pem=certificate_pem(certificate),
            collector_key=self._collector_key,
            command_key=base64.b64encode(self._command_key).decode(),
            command_key_proof=base64.b64encode(
                self._authority.vouch(command_key_statement(gateway_id, self._command_key))
            ).decode(),
        )


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


async def revoke_gateway(store: Store, gateway_id: str, *, now_ms: int) -> bool:
    """From now on nothing of this gateway is accepted. False when it was revoked before."""
    async with store.write() as connection:
        changed = await connection.execute(
            update(gateway)
            .where(gateway.c.id == gateway_id, gateway.c.state == ACTIVE)
            .values(state=REVOKED, revoked_ms=now_ms)
        )
        if changed.rowcount:
            return True
        known = await connection.execute(select(gateway.c.id).where(gateway.c.id == gateway_id))
        if known.one_or_none() is None:
            raise NoSuchGateway(f"there is no gateway {gateway_id!r}; see `collector gateways`")
    return False
