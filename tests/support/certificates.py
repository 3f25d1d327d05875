"""Certificate authorities and certificates for tests, right ones and wrong ones."""

import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that lives for one test."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "test CA") -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, _name(name), key.public_key(), DAY, DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def of(cls, certificate: Path, key: Path) -> "Authority":
        """That of a real collector, by its files."""
        private = load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return cls(private, x509.load_pem_x509_certificate(certificate.read_bytes()))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def server_context(
        self,
        *,
        names: tuple[str, ...] = ("127.0.0.1", "localhost"),
        began: timedelta = DAY,
        ends: timedelta = DAY,
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """For a server that asks for, but does not insist on, a certificate of this CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = _name("server") if self_signed else self.certificate.subject
        certificate = (
            _builder("server", issuer, key.public_key(), began, ends)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key if self_signed else self.key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.der)
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate.public_bytes(Encoding.PEM))
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            context.load_cert_chain(Path(file.name))
        return context

    def certify(self, csr_pem: str, gateway_id: str, *, ends: timedelta = DAY) -> str:
        """The certificate that a collector issues for a gateway's request."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        uri = x509.UniformResourceIdentifier(f"urn:gatehouse:gateway:{gateway_id}")
        certificate = (
            _builder(gateway_id, self.certificate.subject, request.public_key(), 2 * DAY, ends)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode()


WRONG_SERVERS: dict[str, Callable[[Authority], ssl.SSLContext]] = {
    "wrong-ca": lambda right: Authority.make().server_context(),
    "wrong-name": lambda right: right.server_context(names=("collector.example", "192.0.2.1")),
    "expired": lambda right: right.server_context(began=3 * DAY, ends=-timedelta(hours=1)),
    "not-yet-valid": lambda right: right.server_context(began=-timedelta(hours=1), ends=DAY),
    "self-signed": lambda right: right.server_context(self_signed=True),
}
"""Servers that a gateway which trusts only the given authority must not talk to, by what is wrong."""


def _builder(
    subject: str, issuer: x509.Name, key: object, began: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)  # type: ignore[arg-type]  # any kind of public key
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - began)
        .not_valid_after(now + ends)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
