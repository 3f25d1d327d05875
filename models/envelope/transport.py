"""How a content key reaches the collector: encrypted to its public key, bound to what it is for."""

from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from models.sm2 import PRIVATE_BYTES, Sm2PrivateKey, Sm2PublicKey
from models.sm3 import sm3

_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_SEED_BYTES: Final = 64
_HYBRID_BYTES: Final = _MLKEM_SEED_BYTES + 32
_SM3_BYTES: Final = 32

_hpke = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class OpeningKey(Protocol):
    """The private half. Shows in no `repr`."""

    def public_bytes(self) -> bytes: ...

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Raise InvalidTag or ValueError unless it was sealed to this key with the same `info`."""


class Transport(Protocol):
    """Makes keys, and seals to them."""

    def generate(self) -> bytes:
        """A new private key; secret."""

    def load(self, private_key: bytes) -> OpeningKey:
        """Raise ValueError for what `generate` never gives."""

    def seal(self, secret: bytes, *, public_key: bytes, info: bytes) -> bytes:
        """Raise ValueError for what is no public key."""


class Hybrid:
    """HPKE (RFC 9180) with the KEM of ML-KEM-768 and X25519, HKDF-SHA256, AES-256-GCM."""

    def generate(self) -> bytes:
        mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        return mlkem.private_bytes_raw() + x25519.private_bytes_raw()

    def load(self, private_key: bytes) -> OpeningKey:
        return _HybridKey(private_key)

    def seal(self, secret: bytes, *, public_key: bytes, info: bytes) -> bytes:
        mlkem, x25519 = public_key[:_MLKEM_PUBLIC_BYTES], public_key[_MLKEM_PUBLIC_BYTES:]
        to = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(mlkem), X25519PublicKey.from_public_bytes(x25519)
        )
        return _hpke.encrypt(secret, to, info=info)


class Sm2:
    """SM2 encryption (GB/T 32918.4). It takes no `info`, so SM3 of that is encrypted with the secret."""

    def generate(self) -> bytes:
        return Sm2PrivateKey.generate().to_bytes()

    def load(self, private_key: bytes) -> OpeningKey:
        return _Sm2Key(private_key)

    def seal(self, secret: bytes, *, public_key: bytes, info: bytes) -> bytes:
        return Sm2PublicKey(public_key).encrypt(sm3(info) + secret)


class _HybridKey:
    def __init__(self, data: bytes) -> None:
        if len(data) != _HYBRID_BYTES:
            raise ValueError(f"a collector key has {_HYBRID_BYTES} bytes, not {len(data)}")
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(data[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(data[_MLKEM_SEED_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    def public_bytes(self) -> bytes:
        mlkem, x25519 = self._mlkem.public_key(), self._x25519.public_key()
        return mlkem.public_bytes_raw() + x25519.public_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        return _hpke.decrypt(sealed, self._key, info=info)


class _Sm2Key:
    def __init__(self, data: bytes) -> None:
        if len(data) != PRIVATE_BYTES:
            raise ValueError(f"a collector key has {PRIVATE_BYTES} bytes, not {len(data)}")
        self._key = Sm2PrivateKey(data)

    def public_bytes(self) -> bytes:
        return self._key.public_key().to_bytes()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        opened = self._key.decrypt(sealed)
        if opened[:_SM3_BYTES] != sm3(info):
            raise InvalidTag
        return opened[_SM3_BYTES:]
