"""Admits gateways: a token and a certificate request become a gateway that this collector knows."""

import base64
import binascii
import time
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.identity.ca import (
    DEFAULT_LIVES,
    CertificateAuthority,
    GatewayRequest,
    Lives,
    RequestRefused,
)
from collector.identity.gateways import (
    ACTIVE,
    add_key,
    at,
    certificate_of,
    new_gateway_id,
    note_change,
    pem_of,
)
from collector.identity.keyring import Keyring
from collector.identity.tokens import (
    COLLECTOR,
    GATEWAY,
    Admission,
    named_secret_hash,
    secret_hash,
    spend_enrollment_secret,
    spent_enrollment_secret,
)
from collector.store.engine import Store
from collector.store.schema import gateway
from models.envelope import GM, Suite, suite_named
from models.offline import OfflineRequest, verified_request
from models.protocol import (
    CollectorKeyOffer,
    EnrollRequest,
    EnrollResponse,
    Sm2Key,
    collector_key_statement,
    command_key_statement,
    sm2_key_statement,
)
from models.sealing import SEAL_KEY_BYTES, is_usable
from models.sm2 import Sm2PublicKey


def real_now_ms() -> int:
    return time.time_ns() // 1_000_000


class Enrolment:
    """Tokens and certificates live in real time, whatever clock the readings have."""

    def __init__(
        self,
        store: Store,
        authority: CertificateAuthority,
        keyring: Keyring,
        command_key: bytes,
        *,
        lives: Lives = DEFAULT_LIVES,
        now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        """With the keys that gateways seal to, and the public one of what they obey."""
        self._store = store
        self._authority = authority
        self._keyring = keyring
        self._command_key = command_key
        self._lives, self._now_ms = lives, now_ms

    async def enrol(self, request: EnrollRequest) -> EnrollResponse:
        """Raise RequestRefused (the token stays good) or TokenRefused; then there is no new gateway.

        The same token with the same keys again, while it is good, gets the same answer: the first may have
        been lost.
        """
        return await self._enrol(request, secret_hash(request.secret))

    async def enrol_offline(self, sealed: OfflineRequest) -> EnrollResponse:
        """As `enrol`, for a request that came in a file. Raise OfflineRequestRefused too."""
        async with self._store.read() as connection:
            digest = await named_secret_hash(connection, sealed.token)
        return await self._enrol(verified_request(sealed, digest), digest)

    async def _enrol(self, request: EnrollRequest, token: bytes) -> EnrollResponse:
        wanted = GatewayRequest.parse(request.csr_pem)
        seal_key = _seal_key(request.seal_key)
        authority = _authority(request.authority)
        now_ms = self._now_ms()
        async with self._store.write() as connection:
            spent = await spent_enrollment_secret(connection, token, now_ms=now_ms)
            if spent is not None:
                gateway_id, admission = spent
                sm2_key = _sm2_key(request.sm2_key, wanted, admission)
                certificate = await _admitted(connection, gateway_id, wanted.key, seal_key, sm2_key)
                if certificate is not None:
                    return self._answer(gateway_id, admission, certificate)
            return await self._admit(connection, request, token, wanted, seal_key, authority, now_ms)

    async def _admit(
        self,
        connection: AsyncConnection,
        request: EnrollRequest,
        token: bytes,
        wanted: GatewayRequest,
        seal_key: bytes,
        authority: bytes | None,
        now_ms: int,
    ) -> EnrollResponse:
        gateway_id = new_gateway_id()
        kind = GATEWAY if authority is None else COLLECTOR
        admission = await spend_enrollment_secret(
            connection, token, gateway_id=gateway_id, now_ms=now_ms, kind=kind
        )
        sm2_key = _sm2_key(request.sm2_key, wanted, admission)
        if kind == COLLECTOR:
            await _check_alone(connection, admission)
        await connection.execute(
            insert(gateway).values(
                id=gateway_id,
                site_id=admission.site_id,
                name=admission.gateway_name,
                state=ACTIVE,
                kind=kind,
                authority=authority,
                suite=admission.suite.name,
                sm2_key=sm2_key,
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
        offer = self._offer(gateway_id, admission.suite)
        return EnrollResponse(
            gateway_id=gateway_id,
            site_code=admission.site_code,
            certificate_pem=pem_of(certificate),
            suite=offer.suite,
            collector_key=offer.collector_key,
            collector_key_proof=offer.collector_key_proof,
            command_key=base64.b64encode(self._command_key).decode(),
            command_key_proof=base64.b64encode(
                self._authority.vouch(command_key_statement(gateway_id, self._command_key))
            ).decode(),
        )

    async def collector_key(self, gateway_id: str) -> CollectorKeyOffer:
        """What a gateway that is known is to seal content keys to from now on."""
        async with self._store.read() as connection:
            query = select(gateway.c.suite).where(gateway.c.id == gateway_id)
            suite = (await connection.execute(query)).scalar_one()
        return self._offer(gateway_id, suite_named(suite))

    def _offer(self, gateway_id: str, suite: Suite) -> CollectorKeyOffer:
        key = self._keyring.current(suite).public_bytes()
        proof = self._authority.vouch(collector_key_statement(gateway_id, suite.name, key))
        return CollectorKeyOffer(
            suite=suite.name,
            collector_key=base64.b64encode(key).decode(),
            collector_key_proof=base64.b64encode(proof).decode(),
        )


async def _check_alone(connection: AsyncConnection, admission: Admission) -> None:
    """One collector speaks for the gateways below a site: two would contradict each other."""
    query = select(gateway.c.id).where(
        gateway.c.site_id == admission.site_id, gateway.c.kind == COLLECTOR, gateway.c.state == ACTIVE
    )
    if (present := (await connection.execute(query)).scalar_one_or_none()) is not None:
        raise RequestRefused(
            f"the site {admission.site_code} has a collector already, {present}; if this one takes its "
            f"place: `collector gateways revoke {present}`, then enrol with the same token"
        )


def _authority(text: str | None) -> bytes | None:
    """The CA of a collector, which is to have certified whatever gateway it forwards for."""
    if text is None:
        return None
    try:
        der = base64.b64decode(text, validate=True)
        if not isinstance(x509.load_der_x509_certificate(der).public_key(), ec.EllipticCurvePublicKey):
            raise ValueError("its key is of another kind than a collector's")
    except (ValueError, UnsupportedAlgorithm) as err:  # binascii.Error is a ValueError
        raise RequestRefused(f"the authority of the collector is none: {err}") from None
    return der


def _sm2_key(given: Sm2Key | None, request: GatewayRequest, admission: Admission) -> bytes | None:
    """The point, once its sender has shown that the key is its own; None where the site wants none."""
    if admission.suite is not GM:
        return None
    if given is None:
        raise RequestRefused(
            "the site seals with SM2, which this gateway cannot use; install OpenSSL 3 with SM2 on it "
            "(Debian: apt install libssl3), then enrol with the same token"
        )
    try:
        key = Sm2PublicKey(base64.b64decode(given.public_key, validate=True))
        proof = base64.b64decode(given.proof, validate=True)
        key.verify(proof, sm2_key_statement(request.key, key.to_bytes()))
    except ValueError as err:  # binascii.Error is one
        raise RequestRefused(f"the SM2 key is none: {err}") from None
    except InvalidSignature:
        raise RequestRefused("the SM2 key is not shown to be the sender's own") from None
    return key.to_bytes()


async def _admitted(
    connection: AsyncConnection, gateway_id: str, public_key: bytes, seal_key: bytes, sm2_key: bytes | None
) -> bytes | None:
    """The certificate of a gateway that was admitted with just these keys, and still is."""
    query = select(gateway.c.id).where(
        gateway.c.id == gateway_id,
        gateway.c.seal_key == seal_key,
        gateway.c.sm2_key.is_not_distinct_from(sm2_key),
        gateway.c.state == ACTIVE,
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
