"""Encrypts rows of a store with a key that is not in the store.

Every row can be opened on its own, with nothing but the key and what names the row: a store of which only
pieces can be read gives those pieces back. A sealed row is 28 bytes longer than the row: nonce and tag.

What encrypts is derived from the key (HKDF), for one purpose and cipher, so one key may serve several stores.

- aes-256-gcm-siv (RFC 8452), nonces at random: even a repeated nonce shows only that two rows are equal.
- sm4-gcm, for sites under GB/T 39786. A repeated nonce would break GCM, so it is made of HMAC-SM3 over random
  bytes, the row's name and the row: without good randomness, as in a copied machine, it repeats for the same
  row alone.
"""

import os
from typing import Final, Literal, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models import sm4_gcm
from models.errors import BadInput
from models.sm4_gcm import SM4GCM

KEY_BYTES: Final = 32
OVERHEAD_BYTES: Final = 28
"""How much longer a sealed row is."""

MOST_ROWS: Final = 1 << 32
"""To be sealed under one key: two of their nonces are then the same with a probability of 2**-33, and NIST
SP 800-38D allows 2**-32. A buffer that commits ten times a second needs 13 years for them."""

_NONCE_BYTES: Final = 12

Cipher = Literal["aes-256-gcm-siv", "sm4-gcm"]
Name = str | int | bytes
"""Of a row in its table: what it must not be exchanged for another by."""


class RowDamaged(BadInput):
    """The row is not what was sealed under this name: changed, cut, moved here, or of another key."""

    def __init__(self, table: str, name: Name) -> None:
        super().__init__(f"row {name!r} of {table} does not decrypt: it was changed, or is from elsewhere")
        self.table, self.name = table, name


class AtRest:
    """Seals and opens the rows of one purpose. May be used by several threads. Its keys show in no `repr`."""

    def __init__(self, key: bytes, *, purpose: str, cipher: Cipher = "aes-256-gcm-siv") -> None:
        """`key`: 32 bytes; ValueError otherwise. `purpose`: such as "buffer"; no other opens its rows."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key for data at rest has {KEY_BYTES} bytes, and this one {len(key)}")
        self.cipher = cipher
        self.fingerprint: Final = _derived(key, f"{purpose} fingerprint", cipher, 16)
        """16 bytes that tell this key from others and nothing about it: a store that keeps them can say that
        it was given the wrong key, rather than that all its rows are damaged."""
        self._rows: _Rows = (_SivRows if cipher == "aes-256-gcm-siv" else _Sm4Rows)(key, purpose)

    def seal(self, row: bytes, *, table: str, name: Name) -> bytes:
        """`row`, for whoever has the key and knows that it is `name` of `table`."""
        return self._rows.seal(row, _bound(table, name))

    def open(self, sealed: bytes, *, table: str, name: Name) -> bytes:
        """What `seal` was given under these names. Raise RowDamaged."""
        try:
            return self._rows.open(sealed, _bound(table, name))
        except (InvalidTag, ValueError):
            raise RowDamaged(table, name) from None


class _Rows(Protocol):
    def seal(self, row: bytes, bound: bytes) -> bytes: ...

    def open(self, sealed: bytes, bound: bytes) -> bytes: ...


class _SivRows:
    def __init__(self, key: bytes, purpose: str) -> None:
        self._aead = AESGCMSIV(_derived(key, purpose, "aes-256-gcm-siv", 32))

    def seal(self, row: bytes, bound: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, row, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)


class _Sm4Rows:
    def __init__(self, key: bytes, purpose: str) -> None:
        self._aead = SM4GCM(_derived(key, purpose, "sm4-gcm", sm4_gcm.KEY_BYTES))
        self._nonces = hmac.HMAC(_derived(key, f"{purpose} nonces", "sm4-gcm", 32), hashes.SM3())

    def seal(self, row: bytes, bound: bytes) -> bytes:
        mac = self._nonces.copy()
        mac.update(os.urandom(32))
        mac.update(len(bound).to_bytes(4, "big") + bound)
        mac.update(row)
        nonce = mac.finalize()[:_NONCE_BYTES]
        return nonce + self._aead.encrypt(nonce, row, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)


def _derived(key: bytes, what: str, cipher: Cipher, length: int) -> bytes:
    digest = hashes.SHA256() if cipher == "aes-256-gcm-siv" else hashes.SM3()
    info = f"gatehouse at rest 1\x00{what}\x00{cipher}".encode()
    return HKDF(digest, length, salt=None, info=info).derive(key)


def _bound(table: str, name: Name) -> bytes:
    """What the row is, in bytes that no other table and name have."""
    return msgspec.msgpack.encode((table, name))
