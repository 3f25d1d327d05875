"""The next key of an identity on its way to be the present one; a loss of power anywhere leaves a good one.

A new key is kept (`next.key`) before anything is asked with it, its certificate beside it (`next.pem`) before
it is shown to anybody, and both take the place of the present ones in one step, after the collector has
accepted them. Until then the present ones stay in force.
"""

import contextlib
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.files import sync_folder, write_durably
from edge_agent.identity.certificates import CertificateUnusable, check_certificate
from edge_agent.identity.folder import COLLECTOR, GATEWAY, Identity, IdentityDamaged, read_identity

NEXT_KEY: Final = "next.key"
NEXT: Final = "next.pem"


def next_key(identity: Identity) -> Ed25519PrivateKey:
    """The key that a certificate is asked for; the same one again until `adopt` or `forget`."""
    path = identity.folder / NEXT_KEY
    with contextlib.suppress(FileNotFoundError, ValueError):  # none, or a damaged one, never shown to anybody
        return identity.lock.key_of(path.read_bytes())
    key = Ed25519PrivateKey.generate()
    write_durably(path, identity.lock.pem(key), mode=0o600)
    return key


def keep_certificate(identity: Identity, certificate_pem: str) -> Identity:
    """The identity with the next key and this certificate. Raise CertificateUnusable, and keep nothing."""
    key = next_key(identity)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError:
        raise CertificateUnusable(f"{identity.collector.url}: sent no certificate") from None
    check_certificate(certificate, key=key, ca_der=identity.ca_der, gateway_id=identity.gateway_id)
    pem = identity.lock.pem(key) + certificate_pem.encode()
    write_durably(identity.folder / NEXT, pem, mode=0o600)
    return _next(identity)


def kept(identity: Identity) -> Identity | None:
    """What `keep_certificate` gave before this process was started, if it has not been adopted."""
    try:
        return _next(identity)
    except (FileNotFoundError, IdentityDamaged):
        return None


def adopt(present: Identity, following: Identity) -> Identity:
    """Put the next key and its certificate in the place of the present ones: the identity from now on.

    Raise IdentityDamaged when somebody has put another identity there meanwhile.
    """
    folder = present.folder
    found = _next(present)
    if (found.collector, found.certificate) != (present.collector, following.certificate):
        raise IdentityDamaged(folder, "another identity was put in place meanwhile")
    (folder / NEXT).replace(folder / GATEWAY)
    sync_folder(folder)
    forget(present)
    return read_identity(folder, GATEWAY, _raw(folder))


def forget(identity: Identity) -> None:
    """Begin anew with another next key."""
    for name in (NEXT, NEXT_KEY):
        (identity.folder / name).unlink(missing_ok=True)
    sync_folder(identity.folder)


def _next(identity: Identity) -> Identity:
    if not (identity.folder / NEXT).exists():
        raise FileNotFoundError(NEXT)
    return read_identity(identity.folder, NEXT, _raw(identity.folder))


def _raw(folder: Path) -> bytes:
    return (folder / COLLECTOR).read_bytes()
