"""What this gateway asks a collector to certify, and whether what came back fits."""

import base64

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from models.envelope import SUITES
from models.errors import NeedsAHuman
from models.protocol import (
    CollectorKeyOffer,
    NextKeyRequest,
    collector_key_statement,
    command_key_statement,
    next_key_statement,
)


class CertificateUnusable(NeedsAHuman):
    """What the collector issued does not fit: nothing of it was kept."""


def request_pem(key: Ed25519PrivateKey) -> str:
    """The collector names the gateway; what the request calls it does not matter."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    return request.public_bytes(Encoding.PEM).decode()


def next_key_request(gateway_id: str, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> NextKeyRequest:
    """The question for a certificate for `new`, for which `old` vouches."""
    old_key, new_key = (key.public_key().public_bytes_raw() for key in (old, new))
    return NextKeyRequest(
        gateway_id=gateway_id,
        csr_pem=request_pem(new),
        old_key=base64.b64encode(old_key).decode(),
        proof=base64.b64encode(old.sign(next_key_statement(gateway_id, new_key))).decode(),
    )


def check_certificate(
    certificate: x509.Certificate, *, key: Ed25519PrivateKey, ca_der: bytes, gateway_id: str
) -> None:
    """Raise CertificateUnusable unless it certifies our key under our id, by the CA that we trust."""
    if certificate.public_key() != key.public_key():
        raise CertificateUnusable("the certificate is for another key")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [name.value for name in names] != [gateway_id]:
        raise CertificateUnusable(f"the certificate is not for {gateway_id}")
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(ca_der))
    except (InvalidSignature, ValueError, TypeError):
        raise CertificateUnusable("the certificate is not signed by the CA of the token") from None


def check_command_key(key: bytes, proof: bytes, *, ca_der: bytes, gateway_id: str) -> None:
    """Raise CertificateUnusable unless the CA that we trust says that this gateway is to obey `key`."""
    if not _is_vouched_for(command_key_statement(gateway_id, key), proof, ca_der):
        raise CertificateUnusable("the key for commands is not vouched for by the CA of the token")


def check_collector_key(offer: CollectorKeyOffer, *, ca_der: bytes, gateway_id: str) -> bytes:
    """What content keys are to be sealed to, or CertificateUnusable unless the CA that we trust says so."""
    if offer.suite not in {suite.name for suite in SUITES.values()}:
        raise CertificateUnusable(
            f"the collector wants batches sealed by the suite {offer.suite!r}, which is not known here; "
            "update edge-agent"
        )
    key = bytes_from(offer.collector_key)
    statement = collector_key_statement(gateway_id, offer.suite, key)
    if not _is_vouched_for(statement, bytes_from(offer.collector_key_proof), ca_der):
        raise CertificateUnusable("the collector's key is not vouched for by the CA of the token")
    return key


def bytes_from(text: str) -> bytes:
    """What an enrolment answer carries as base64. Raise CertificateUnusable."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise CertificateUnusable("a key of the collector is not base64") from None


def _is_vouched_for(statement: bytes, proof: bytes, ca_der: bytes) -> bool:
    authority = x509.load_der_x509_certificate(ca_der).public_key()
    if not isinstance(authority, ec.EllipticCurvePublicKey):
        return False
    try:
        authority.verify(proof, statement, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
