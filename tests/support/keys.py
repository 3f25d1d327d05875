"""Signing keys of the suites."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.envelope import GM, Suite
from models.sm2 import Sm2PrivateKey


def signing_key_of(suite: Suite) -> Ed25519PrivateKey | Sm2PrivateKey:
    """A new one."""
    return Sm2PrivateKey.generate() if suite is GM else Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey | Sm2PrivateKey) -> bytes:
    """Its public half, as the collector keeps it."""
    if isinstance(key, Sm2PrivateKey):
        return key.public_key().to_bytes()
    return key.public_key().public_bytes_raw()
