"""The suites: which algorithms seal an envelope. Everything else about envelopes is the same for all.

1. standard: AES-256-GCM, Ed25519 or P-256, SHA-256; content keys travel by HPKE with ML-KEM-768 and X25519
   together, so that who records today cannot read with a quantum computer later.
2. gm, for sites under GB/T 39786: SM4-GCM, SM2 signatures, SM3; content keys travel by SM2 encryption.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models import signing
from models.envelope.transport import Hybrid, Sm2, Transport
from models.sm2 import Sm2PublicKey
from models.sm3 import sm3
from models.sm4_gcm import SM4GCM

SIGNATURE_BYTES: Final = signing.SIGNATURE_BYTES
DIGEST_BYTES: Final = 32


class Aead(Protocol):
    """An authenticated cipher with one key. Nonces have 12 bytes; the wrong ciphertext raises InvalidTag."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Signer(Protocol):
    """A private key that signs, wherever it is kept; of the kind that the suite wants."""

    def sign(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Suite:
    """Signatures have 64 bytes and digests 32 in all suites."""

    number: int  # as headers name it
    name: str  # as people and settings do
    key_bytes: int  # of a content key
    aead: Callable[[bytes], Aead] = field(repr=False)
    digest: Callable[[bytes], bytes] = field(repr=False)
    verify: Callable[[bytes, bytes, bytes], None] = field(repr=False)
    """Public key, signature, data. Raises InvalidSignature; ValueError for what is no public key."""
    transport: Transport = field(repr=False)
    """How content keys reach the collector."""


def suite_named(name: str) -> Suite:
    """Raise KeyError."""
    return {suite.name: suite for suite in SUITES.values()}[name]


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _verify_sm2(public_key: bytes, signature: bytes, data: bytes) -> None:
    Sm2PublicKey(public_key).verify(signature, data)


STANDARD: Final = Suite(1, "standard", 32, AESGCM, _sha256, signing.verify, Hybrid())
GM: Final = Suite(2, "gm", 16, SM4GCM, sm3, _verify_sm2, Sm2())
SUITES: Final = {suite.number: suite for suite in (STANDARD, GM)}
