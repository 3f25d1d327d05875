"""The collector certifies its server and its gateways so that TLS libraries accept them, and only as such."""

import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from collector.identity.ca import (
    CertificateAuthority,
    GatewayRequest,
    Lives,
    RequestRefused,
)
from collector.identity.home import Home, HomeUnusable
from models.envelope import STANDARD, CollectorPrivateKey
from tests.support.collector import Sender

NOW = datetime(2026, 9, 21, 12, tzinfo=UTC)


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(NOW)


@pytest.fixture
def sender() -> Sender:
    return Sender("gw-000000000001", CollectorPrivateKey.generate().public_bytes())


def policy(authority: CertificateAuthority, at: datetime) -> PolicyBuilder:
    return PolicyBuilder().store(Store([authority.certificate])).time(at)


@pytest.mark.parametrize("name", ["collector.example", "localhost", "采集.example"])
def test_the_servers_certificate_is_good_for_its_names(authority: CertificateAuthority, name: str) -> None:
    pair = authority.certify_server([name, "10.0.0.7"], NOW)
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    ascii_name = x509.DNSName(name.encode("idna").decode())
    policy(authority, NOW).build_server_verifier(ascii_name).verify(certificate, [])
    with pytest.raises(VerificationError):
        policy(authority, NOW).build_server_verifier(x509.DNSName("other.example")).verify(certificate, [])
    too_late = NOW + Lives().server * 1.01
    with pytest.raises(VerificationError):
        policy(authority, too_late).build_server_verifier(ascii_name).verify(certificate, [])
    with pytest.raises(VerificationError):
        policy(authority, NOW).build_client_verifier().verify(certificate, [])


def test_a_gateways_certificate_names_it_and_is_good_for_a_year(
    authority: CertificateAuthority, sender: Sender
) -> None:
    request = GatewayRequest.parse(sender.csr_pem())
    certificate = authority.certify_gateway(request.public_key, "gw-000000000001", NOW)
    verified = policy(authority, NOW).build_client_verifier().verify(certificate, [])
    assert verified.subjects == [x509.UniformResourceIdentifier("urn:gatehouse:gateway:gw-000000000001")]
    assert certificate.subject.rfc4514_string() == "CN=gw-000000000001"  # nothing of the request
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_after_utc == NOW + Lives().gateway == NOW + timedelta(days=365)
    with pytest.raises(VerificationError):
        policy(CertificateAuthority.create(NOW), NOW).build_client_verifier().verify(certificate, [])


def ec_request() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def on_an_unknown_curve() -> str:
    """A request whose key names a curve that nobody has heard of."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    p256, none = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030142")
    return x509.load_der_x509_csr(der.replace(p256, none)).public_bytes(Encoding.PEM).decode()


def signed_by_another() -> str:
    """A request for one key with the signature of another."""
    pem = [
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(Ed25519PrivateKey.generate(), None)
        for _ in range(2)
    ]
    der = pem[0].public_bytes(Encoding.DER)
    forged = der.replace(pem[0].signature, pem[1].signature)
    return x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(lambda: "", id="nothing"),
        pytest.param(lambda: "门" * 100, id="no-pem"),
        pytest.param(
            lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
            id="no-der",
        ),
        pytest.param(ec_request, id="another-kind-of-key"),
        pytest.param(on_an_unknown_curve, id="unknown-curve"),
        pytest.param(signed_by_another, id="not-the-owner-of-the-key"),
    ],
)
def test_a_request_that_cannot_be_signed_is_refused(pem: Callable[[], str]) -> None:
    with pytest.raises(RequestRefused):
        GatewayRequest.parse(pem())


def test_the_keys_of_a_collector_are_for_its_own_eyes(tmp_path: Path) -> None:
    home = Home(tmp_path / "collector")
    assert home.create_keys(NOW)
    assert home.ensure_server_certificate(["collector.example"], NOW)
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    for secret in (home.ca_key, home.envelope_key(), home.command_key, home.server_certificate):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(home.authority().key_pair())


def test_keys_that_are_there_are_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create_keys(NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not home.create_keys(NOW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert home.keyring().current(STANDARD).public_bytes() == home.keyring().current(STANDARD).public_bytes()


def test_the_servers_certificate_is_made_anew_when_it_must_be(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create_keys(NOW)
    assert home.ensure_server_certificate(["a.example"], NOW)
    assert not home.ensure_server_certificate(["a.example"], NOW + Lives().server * 0.49)
    assert home.ensure_server_certificate(["a.example"], NOW + Lives().server * 0.51)
    assert home.ensure_server_certificate(["a.example", "10.0.0.7"], NOW + Lives().server * 0.51)
    home.server_certificate.write_text("damaged")
    assert home.ensure_server_certificate(["a.example"], NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(home.server_certificate)


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "envelope.key", "command.key"])
def test_a_damaged_or_missing_key_is_named(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path)
    home.create_keys(NOW)
    load = {"envelope.key": home.keyring, "command.key": home.commanding_key}.get(name, home.authority)
    (tmp_path / name).write_text("damaged")
    with pytest.raises(HomeUnusable, match=f"{name}.*: damaged; restore it from the backup"):
        load()
    (tmp_path / name).unlink()
    with pytest.raises(HomeUnusable, match=f"{name}.*: No such file"):
        load()
