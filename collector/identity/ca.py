"""The collector's own certificate authority: certifies its server and the gateways, and nobody else.

Keys of the authority and of the server are P-256, which every TLS library knows; a gateway's is Ed25519, or
P-256 where it lives in a chip. It is made on the gateway, and arrives here only as a signed request.
"""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.errors import BadInput
from models.signing import GatewayKey, KeyUnusable, key_bytes, key_from

CA_LIFE = timedelta(days=20 * 365)  # it is in every enrolled gateway: it must outlive the building's meters
BACKDATED = timedelta(hours=1)  # the clock of a gateway may be behind
BACKDATED_SHARE = 20  # of a short life, so that a gateway still sees when two thirds of it are over

GATEWAY_URI = "urn:gatehouse:gateway:"
COLLECTOR_URI = "urn:gatehouse:collector"
COLLECTOR_NAME = "collector"  # no gateway's: those begin with gw-
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RequestRefused(BadInput):
    """The certificate request of a gateway is not one that can be signed."""


@dataclass(frozen=True, slots=True)
class Lives:
    """How long certificates are good."""

    gateway: timedelta = timedelta(days=365)
    server: timedelta = timedelta(days=730)


DEFAULT_LIVES: Final = Lives()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, as PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs. Its certificate is what an enrolment token carries."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> "CertificateAuthority":
        key = ec.generate_private_key(ec.SECP256R1())
        # The name differs from collector to collector, so that a client with several can tell them apart.
        name = _name(f"Gatehouse CA {secrets.token_hex(4)}")
        certificate = (
            _builder(name, name, key.public_key(), now, CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, pair: KeyPair) -> "CertificateAuthority":
        """Raise ValueError when the two are no authority's, or do not belong together."""
        key = serialization.load_pem_private_key(pair.key_pem, password=None)
        certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("the key does not belong to the certificate")
        return cls(certificate, key)

    def key_pair(self) -> KeyPair:
        return KeyPair(_certificate_pem(self.certificate), _key_pem(self._key))

    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def certify_server(
        self, names: Sequence[str], now: datetime, life: timedelta = DEFAULT_LIVES.server
    ) -> KeyPair:
        """A new key and its certificate for these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [general_name(name) for name in dict.fromkeys(names)]
        certificate = self._certify(key.public_key(), names[0], known, _SERVER, now, life)
        return KeyPair(_certificate_pem(certificate), _key_pem(key))

    def certify_collector(self, now: datetime, life: timedelta = DEFAULT_LIVES.server) -> KeyPair:
        """A new key and its certificate by which a broker knows a collector, and lets it answer gateways."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [x509.UniformResourceIdentifier(COLLECTOR_URI)]
        certificate = self._certify(key.public_key(), COLLECTOR_NAME, known, _CLIENT, now, life)
        return KeyPair(_certificate_pem(certificate), _key_pem(key))

    def certify_gateway(
        self, public_key: GatewayKey, gateway_id: str, now: datetime, life: timedelta = DEFAULT_LIVES.gateway
    ) -> x509.Certificate:
        known = [x509.UniformResourceIdentifier(GATEWAY_URI + gateway_id)]
        return self._certify(public_key, gateway_id, known, _CLIENT, now, life)

    def vouch(self, statement: bytes) -> bytes:
        """A signature over it (ECDSA with SHA-256), to be checked with the authority's certificate."""
        return self._key.sign(statement, ec.ECDSA(hashes.SHA256()))

    def _certify(
        self,
        public_key: GatewayKey,
        common_name: str,
        known: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        now: datetime,
        life: timedelta,
    ) -> x509.Certificate:
        authority = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _builder(_name(common_name), self.certificate.subject, public_key, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(known), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """A certificate request whose sender has proved to own the key. Nothing else of it is used."""

    public_key: GatewayKey
    key: bytes  # the same, as `models.signing` keeps it

    @classmethod
    def parse(cls, pem: str) -> "GatewayRequest":
        """Raise RequestRefused for what is no request, or not for a key that a gateway may have."""
        try:
            request = x509.load_pem_x509_csr(pem.encode())
            proved = request.is_signature_valid
            key = request.public_key()
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as err:
            raise RequestRefused(f"not a certificate request: {err}") from err
        if not proved:
            raise RequestRefused("the certificate request is not signed by the key in it")
        try:
            data = key_bytes(key)
        except KeyUnusable as err:
            raise RequestRefused(f"the certificate request: {err}") from None
        return cls(key_from(data), data)


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address, as a certificate has it. Raise ValueError for what is neither."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))


_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


def _name(common_name: str) -> x509.Name:
    # A common name has at most 64 characters; who needs the whole host name reads the alternative names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: GatewayKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(BACKDATED, life / BACKDATED_SHARE))
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
