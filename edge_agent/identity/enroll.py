"""Makes this gateway one of a collector's: a token, a key born here, a certificate."""

import base64
import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from edge_agent.files import write_durably
from edge_agent.identity import folder as identity
from edge_agent.identity.certificates import (
    CertificateUnusable,
    bytes_from,
    check_certificate,
    check_collector_key,
    check_command_key,
    request_pem,
)
from edge_agent.identity.folder import Collector, Identity
from edge_agent.identity.lock import Lock, TokenPlace, lock_of, new_lock
from edge_agent.problems import problem_of
from edge_agent.proxy import Proxy
from edge_agent.tls import CollectorUnreachable, explain, verifying_context
from edge_agent.version import agent_version
from models.errors import NeedsAHuman
from models.offline import seal_request
from models.protocol import (
    Code,
    CollectorKeyOffer,
    EnrollmentToken,
    EnrollRequest,
    EnrollResponse,
    Sm2Key,
    sm2_key_statement,
)
from models.signing import key_bytes
from models.sm2 import Sm2PrivateKey, Sm2Unavailable

TIMEOUT_S = 20.0

_KEY = "key.pem"
_ASKED_WITH = "token.sha256"

_HINTS = {
    Code.TOKEN_UNKNOWN: "the collector does not know this token; copy it whole, or ask for a new one",
    Code.TOKEN_USED: "this token has been used; each is good for one gateway, so ask for a new one",
    Code.TOKEN_OTHER_KIND: "this token is for another kind than has used it; ask for one made by "
    "collector enrollment-token --for gateway, or --for collector",
    Code.TOKEN_EXPIRED: "this token has expired; ask for a new one and use it within its hours",
}


class _Keys(NamedTuple):
    """What is born on the gateway for one collector. Only the public halves leave it."""

    signing: Ed25519PrivateKey
    seal: X25519PrivateKey
    sm2: Sm2PrivateKey | None
    lock: Lock

    def __repr__(self) -> str:
        return "_Keys()"


class AlreadyEnrolled(NeedsAHuman):
    """There is an identity, and it was not asked to replace it."""

    def __init__(self, gateway_id: str, url: str, name: str) -> None:
        super().__init__(
            f"this gateway is enrolled already, as {gateway_id} at {url}, which it calls {name}; "
            "to give it a new identity there: edge-agent enroll --again TOKEN; "
            "to send to one more collector: edge-agent enroll TOKEN --collector NAME"
        )
        self.gateway_id, self.url, self.name = gateway_id, url, name


class EnrolmentRefused(NeedsAHuman):
    """The collector has answered no. `code` is one of `models.protocol.Code`, or "" for another answer."""

    def __init__(self, url: str, code: str, detail: str) -> None:
        super().__init__(f"{url}: {_HINTS.get(code, detail)}")
        self.url, self.code, self.detail = url, code, detail


class StateUnusable(NeedsAHuman):
    """What belongs to the identity cannot be read or written."""

    def __init__(self, path: str | Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; check the disk and the rights of its folder")
        self.path, self.detail = path, detail


def enroll(
    token: EnrollmentToken,
    *,
    state_dir: Path,
    name: str = identity.MAIN,
    again: bool = False,
    proxy: Proxy | None = None,
    key_token: TokenPlace | None = None,
    authority: bytes | None = None,
) -> Identity:
    """The new identity at the collector that is called `name` here, once it is on disk.

    Until then nothing of an old one is touched. With `key_token` that token locks the private keys on disk.
    `authority` is of a collector that enrols at a higher one: the certificate of its own CA (DER).
    Raise TokenUnusable, SecretUnusable, AlreadyEnrolled, EnrolmentRefused, CertificateUnusable,
    NameUnusable, StateUnusable, and what `edge_agent.tls` raises.
    """
    try:
        return _enroll(
            token, state_dir, name, again=again, proxy=proxy, key_token=key_token, authority=authority
        )
    except OSError as err:
        raise StateUnusable(err.filename or state_dir, err.strerror or str(err)) from err


def offline_request(
    token: EnrollmentToken, *, state_dir: Path, name: str, again: bool, key_token: TokenPlace | None = None
) -> bytes:
    """What is to be carried to the collector; the same keys as before, where it is asked for again.

    Raise TokenUnusable, SecretUnusable, AlreadyEnrolled, NameUnusable, StateUnusable.
    """
    try:
        _, keys = _begun(token, state_dir, name, again=again, key_token=key_token)
    except OSError as err:
        raise StateUnusable(err.filename or state_dir, err.strerror or str(err)) from err
    return seal_request(_request(token, keys))


def offline_answer(token: EnrollmentToken, data: bytes, *, state_dir: Path, name: str) -> Identity:
    """The new identity, once the collector's answer has come back and is verified.

    Raise EnrolmentRefused, CertificateUnusable, NameUnusable, StateUnusable.
    """
    folder = identity.identity_folder(state_dir, name)
    fresh = folder.with_name(folder.name + identity.NEW)
    keys = _kept_keys(fresh, token)
    if keys is None:
        raise EnrolmentRefused(
            token.url, "", "with this token nothing was asked here; begin with edge-agent enroll --request"
        )
    try:
        answer = EnrollResponse.model_validate_json(data)
    except ValidationError:
        raise EnrolmentRefused(
            token.url, "", "the file is no answer of `collector enroll-file`, or cut off; copy it whole"
        ) from None
    try:
        return _completed(token, keys, answer, fresh, state_dir, name)
    except OSError as err:
        raise StateUnusable(err.filename or state_dir, err.strerror or str(err)) from err


def _enroll(
    token: EnrollmentToken,
    state_dir: Path,
    name: str,
    *,
    again: bool,
    proxy: Proxy | None,
    key_token: TokenPlace | None,
    authority: bytes | None,
) -> Identity:
    fresh, keys = _begun(token, state_dir, name, again=again, key_token=key_token)
    try:
        answer = _ask(token, keys, proxy, authority)
    except EnrolmentRefused:
        (fresh / _ASKED_WITH).unlink(missing_ok=True)  # nothing was made of these keys
        raise
    return _completed(token, keys, answer, fresh, state_dir, name)


def _begun(
    token: EnrollmentToken, state_dir: Path, name: str, *, again: bool, key_token: TokenPlace | None
) -> tuple[Path, _Keys]:
    """The folder of what is being put together, and the keys in it."""
    folder = identity.identity_folder(state_dir, name)
    if not again:
        with contextlib.suppress(identity.NotEnrolled):
            present = identity.load_identity(state_dir, name)
            raise AlreadyEnrolled(present.gateway_id, present.collector.url, name)
    fresh = folder.with_name(folder.name + identity.NEW)
    return fresh, _kept_keys(fresh, token) or _fresh_keys(folder, token, key_token)


def _completed(
    token: EnrollmentToken, keys: _Keys, answer: EnrollResponse, fresh: Path, state_dir: Path, name: str
) -> Identity:
    certificate_pem = answer.certificate_pem.encode()
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise CertificateUnusable(f"{token.url}: sent no certificate") from None
    check_certificate(
        certificate, key=keys.signing, ca_der=token.ca_certificate_der, gateway_id=answer.gateway_id
    )
    command_key = bytes_from(answer.command_key)
    check_command_key(
        command_key,
        bytes_from(answer.command_key_proof),
        ca_der=token.ca_certificate_der,
        gateway_id=answer.gateway_id,
    )
    collector_key = check_collector_key(
        CollectorKeyOffer(
            suite=answer.suite,
            collector_key=answer.collector_key,
            collector_key_proof=answer.collector_key_proof,
        ),
        ca_der=token.ca_certificate_der,
        gateway_id=answer.gateway_id,
    )
    identity.save_identity(
        fresh,
        key=keys.signing,
        collector=Collector(
            url=token.url,
            gateway_id=answer.gateway_id,
            site_code=answer.site_code,
            collector_key=collector_key,
            command_key=command_key,
            suite=answer.suite,
        ),
        certificate_pem=certificate_pem,
        ca_der=token.ca_certificate_der,
        lock=keys.lock,
    )
    return identity.load_identity(state_dir, name)


def _fresh_keys(folder: Path, token: EnrollmentToken, key_token: TokenPlace | None) -> _Keys:
    """Kept before they are used: should the answer get lost, the same token is good for them again."""
    fresh = identity.new_folder(folder)
    lock = new_lock(fresh, key_token)
    keys = _Keys(Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), _new_sm2_key(), lock)
    write_durably(fresh / identity.SEAL_KEY, lock.closed(keys.seal.private_bytes_raw()), mode=0o600)
    if keys.sm2 is not None:
        write_durably(fresh / identity.SM2_KEY, lock.closed(keys.sm2.to_bytes()), mode=0o600)
    write_durably(fresh / _KEY, lock.pem(keys.signing), mode=0o600)
    write_durably(fresh / _ASKED_WITH, _digest(token), mode=0o600)
    return keys


def _kept_keys(fresh: Path, token: EnrollmentToken) -> _Keys | None:
    """Those of an attempt with the same token, if one was made whose end nobody has seen."""
    try:
        if (fresh / _ASKED_WITH).read_bytes() != _digest(token):
            return None
        lock = lock_of(fresh)
        key = lock.key_of((fresh / _KEY).read_bytes())
        seal_key = X25519PrivateKey.from_private_bytes(lock.opened((fresh / identity.SEAL_KEY).read_bytes()))
        sm2 = fresh / identity.SM2_KEY
        sm2_key = Sm2PrivateKey(lock.opened(sm2.read_bytes())) if sm2.exists() else None
    except (OSError, ValueError):
        return None
    return _Keys(key, seal_key, sm2_key, lock)


def _digest(token: EnrollmentToken) -> bytes:
    return hashlib.sha256(token.secret.encode()).hexdigest().encode()


def _new_sm2_key() -> Sm2PrivateKey | None:
    """For a site of the suite gm: which suite it is, only the answer says. None where there is no SM2."""
    try:
        return Sm2PrivateKey.generate()
    except Sm2Unavailable:
        return None


def _shown(sm2_key: Sm2PrivateKey, key: Ed25519PrivateKey) -> Sm2Key:
    public_key = sm2_key.public_key().to_bytes()
    proof = sm2_key.sign(sm2_key_statement(key_bytes(key.public_key()), public_key))
    return Sm2Key(public_key=base64.b64encode(public_key).decode(), proof=base64.b64encode(proof).decode())


def _request(token: EnrollmentToken, keys: _Keys, authority: bytes | None = None) -> EnrollRequest:
    return EnrollRequest(
        secret=token.secret,
        csr_pem=request_pem(keys.signing),
        agent_version=agent_version(),
        seal_key=base64.b64encode(keys.seal.public_key().public_bytes_raw()).decode(),
        sm2_key=None if keys.sm2 is None else _shown(keys.sm2, keys.signing),
        authority=None if authority is None else base64.b64encode(authority).decode(),
    )


def _ask(token: EnrollmentToken, keys: _Keys, proxy: Proxy | None, authority: bytes | None) -> EnrollResponse:
    request = _request(token, keys, authority)
    if not token.url.startswith("https://"):
        raise NeedsAHuman(f"the enrolment token names {token.url}, which is not https; ask for a new one")
    try:
        context = verifying_context(token.ca_certificate_der)
    except ValueError:  # ssl.SSLError is one
        raise NeedsAHuman("the CA in the enrolment token is damaged; copy the token whole") from None
    try:
        with httpx.Client(
            base_url=token.url,
            verify=context,
            proxy=None if proxy is None else proxy.of_httpx(),
            trust_env=False,
            timeout=TIMEOUT_S,
        ) as client:
            response = client.post(
                "/gateway/v1/enroll",
                content=request.model_dump_json(),
                headers={"content-type": "application/json"},
            )
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        raise explain(token.url, err) from None  # the cause would show the request, and that the secret
    if response.status_code >= 500:
        raise CollectorUnreachable(token.url, f"answers with an error of its own ({response.status_code})")
    if response.status_code != httpx.codes.CREATED:
        problem = problem_of(response.status_code, response.content)
        raise EnrolmentRefused(token.url, problem.code, problem.told)
    try:
        return EnrollResponse.model_validate_json(response.content)
    except ValidationError:
        raise EnrolmentRefused(
            token.url, "", "the answer is none of a collector; update edge-agent"
        ) from None
