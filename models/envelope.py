"""Seals a batch so that only the collector can read it and nobody can change, swap or forge it.

An envelope is: magic, header in clear, ciphertext, signature.

- The batch (`models.batch`, compressed) is encrypted with AES-256-GCM, with magic and header as
  associated data.
- The gateway's Ed25519 key signs everything before the signature.
- The header carries the digest (SHA-256) of the previous envelope, so a removed or exchanged one shows.
- The content key is random, made at each start of the gateway, and sent to the collector once, as a signed
  package, by HPKE (RFC 9180) with the hybrid KEM of ML-KEM-768 and X25519. It is never written to disk, so
  a nonce can repeat under no restored file; the nonce is a counter of that key.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.batch import BatchMalformed, Columns, decode_columns, encode_items
from models.errors import BadInput
from models.reading import Item

SUITE: Final = 1  # AES-256-GCM, Ed25519, SHA-256, HPKE with MLKEM768-X25519, HKDF-SHA256, AES-256-GCM
MAX_ENVELOPE_BYTES: Final = 8 << 20
FIRST_PREVIOUS: Final = bytes(32)
"""The `previous` of the first envelope of an epoch."""

_ENVELOPE_MAGIC = b"GHE1"
_PACKAGE_MAGIC = b"GHK1"
_SIGNATURE_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64

_hpke = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class EnvelopeRefused(BadInput):
    """The envelope or key package is not what it should be; nothing of it may be used.

    `code` is one of: malformed, foreign-gateway, bad-signature, unknown-key, cannot-open.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class Header(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What an envelope says of itself in clear."""

    suite: int
    gateway_id: str
    epoch: bytes  # 16 bytes, minted with the gateway's store
    number: int  # of the batch in its epoch, from 1, without holes
    first_seq: int  # sequence number of the first item, from 1
    count: int  # sequence numbers from `first_seq` on, without holes or with
    key_id: bytes  # 16 bytes: which content key
    nonce: int  # counter of that key
    previous: bytes  # digest of envelope number - 1, or FIRST_PREVIOUS

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished envelope. `digest` is its SHA-256; the collector's receipt must name the same."""

    body: bytes
    digest: bytes


@dataclass(slots=True)
class ContentKey:
    """The symmetric key of one start of one gateway. Lives in memory alone."""

    key_id: bytes
    _aead: AESGCM = field(repr=False)
    _next_nonce: int = field(default=0, repr=False)

    @classmethod
    def fresh(
        cls, *, gateway_id: str, collector_key: bytes, signing_key: Ed25519PrivateKey
    ) -> tuple["ContentKey", bytes]:
        """A new key, and the signed package that carries it to the owner of `collector_key`."""
        key_id, secret = os.urandom(16), AESGCM.generate_key(256)
        sealed = _hpke.encrypt(secret, _public_key(collector_key), info=_package_info(gateway_id, key_id))
        signed = _PACKAGE_MAGIC + msgspec.msgpack.encode(_Package(gateway_id, key_id, sealed))
        return cls(key_id, AESGCM(secret)), signed + signing_key.sign(signed)

    def _take_nonce(self) -> int:
        self._next_nonce += 1
        return self._next_nonce


class CollectorPrivateKey:
    """The key that opens content-key packages. Its public half reaches gateways at enrolment."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem, self._x25519 = mlkem, x25519
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)

    @classmethod
    def generate(cls) -> "CollectorPrivateKey":
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, data: bytes) -> "CollectorPrivateKey":
        """Raise ValueError when `data` is not what `to_bytes` gave."""
        if len(data) != _MLKEM_SEED_BYTES + 32:
            raise ValueError(f"a collector key has {_MLKEM_SEED_BYTES + 32} bytes, not {len(data)}")
        mlkem, x25519 = data[:_MLKEM_SEED_BYTES], data[_MLKEM_SEED_BYTES:]
        return cls(MLKEM768PrivateKey.from_seed_bytes(mlkem), X25519PrivateKey.from_private_bytes(x25519))

    def to_bytes(self) -> bytes:
        """Secret: to be kept in a file that only the collector can read."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def public_bytes(self) -> bytes:
        mlkem, x25519 = self._mlkem.public_key(), self._x25519.public_key()
        return mlkem.public_bytes_raw() + x25519.public_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        return _hpke.decrypt(sealed, self._key, info=info)


class _Package(msgspec.Struct, array_like=True, frozen=True):
    gateway_id: str
    key_id: bytes
    sealed: bytes


def seal(
    items: Sequence[Item | None],
    *,
    gateway_id: str,
    epoch: bytes,
    number: int,
    first_seq: int,
    previous: bytes,
    content_key: ContentKey,
    signing_key: Ed25519PrivateKey,
    earlier: bool = False,
) -> Sealed:
    """Seal items that have the sequence numbers from `first_seq` on; `earlier` is as in `Columns`."""
    header = Header(
        suite=SUITE,
        gateway_id=gateway_id,
        epoch=epoch,
        number=number,
        first_seq=first_seq,
        count=len(items),
        key_id=content_key.key_id,
        nonce=content_key._take_nonce(),
        previous=previous,
    )
    encoded = msgspec.msgpack.encode(header)
    clear = _ENVELOPE_MAGIC + len(encoded).to_bytes(2, "big") + encoded
    signed = clear + content_key._aead.encrypt(
        _nonce(header.nonce), encode_items(items, earlier=earlier), clear
    )
    body = signed + signing_key.sign(signed)
    return Sealed(body, hashlib.sha256(body).digest())


def read_header(body: bytes) -> Header:
    """The header as it stands there, which nobody has verified yet."""
    return _split(body)[0]


def verify(body: bytes, *, gateway_id: str, public_key: bytes) -> Header:
    """The header, once it is certain that `gateway_id`, owner of `public_key`, sealed this envelope."""
    header, _, _ = _split(body)
    if header.gateway_id != gateway_id:
        raise EnvelopeRefused("foreign-gateway", f"sealed by {header.gateway_id!r}, sent by {gateway_id!r}")
    _check_signature(body, public_key)
    return header


def open_envelope(
    body: bytes, *, gateway_id: str, public_key: bytes, content_key: ContentKey
) -> tuple[Header, Columns]:
    """Verify, decrypt and decode. Raise EnvelopeRefused; then nothing of the content was used."""
    header = verify(body, gateway_id=gateway_id, public_key=public_key)
    if header.key_id != content_key.key_id:
        raise EnvelopeRefused("unknown-key", f"sealed with key {header.key_id.hex()}")
    _, clear, ciphertext = _split(body)
    try:
        columns = decode_columns(content_key._aead.decrypt(_nonce(header.nonce), ciphertext, clear))
    except InvalidTag:
        raise EnvelopeRefused("cannot-open", "does not decrypt with the key that it names") from None
    except BatchMalformed as err:
        raise EnvelopeRefused("malformed", str(err)) from err
    if columns.count != header.count:
        raise EnvelopeRefused("malformed", f"header says {header.count} items, {columns.count} are in it")
    return header, columns


def package_key_id(package: bytes) -> bytes:
    """Which key a package says it carries; not verified."""
    return _split_package(package).key_id


def open_package(
    package: bytes, *, gateway_id: str, public_key: bytes, private_key: CollectorPrivateKey
) -> ContentKey:
    """The content key that `gateway_id`, owner of `public_key`, sent to the owner of `private_key`."""
    parts = _split_package(package)
    if parts.gateway_id != gateway_id:
        raise EnvelopeRefused("foreign-gateway", f"made by {parts.gateway_id!r}, sent by {gateway_id!r}")
    _check_signature(package, public_key)
    try:
        secret = private_key.open(parts.sealed, info=_package_info(gateway_id, parts.key_id))
        return ContentKey(parts.key_id, AESGCM(secret))
    except (InvalidTag, ValueError):
        raise EnvelopeRefused(
            "cannot-open", "the key package was made for another collector; enrol the gateway again"
        ) from None


def _split(body: bytes) -> tuple[Header, bytes, bytes]:
    if len(body) > MAX_ENVELOPE_BYTES:
        raise EnvelopeRefused("malformed", f"{len(body)} bytes; at most {MAX_ENVELOPE_BYTES}")
    if body[:4] != _ENVELOPE_MAGIC:
        raise EnvelopeRefused("malformed", "not an envelope")
    end = 6 + int.from_bytes(body[4:6], "big")
    if len(body) < end + _SIGNATURE_BYTES:
        raise EnvelopeRefused("malformed", "cut off")
    try:
        header = _header_decoder.decode(body[6:end])
    except _UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"header: {err}") from err
    if header.suite != SUITE:
        raise EnvelopeRefused("malformed", f"suite {header.suite}; this side knows suite {SUITE}")
    sizes = (len(header.epoch), len(header.key_id), len(header.previous))
    numbers = (header.number, header.first_seq, header.count, header.nonce)
    if sizes != (16, 16, 32) or not all(1 <= number < 1 << 62 for number in numbers):
        raise EnvelopeRefused("malformed", "a field of the header has an impossible size")
    return header, body[:end], body[end:-_SIGNATURE_BYTES]


def _split_package(package: bytes) -> _Package:
    if package[:4] != _PACKAGE_MAGIC or not _SIGNATURE_BYTES + 4 < len(package) < 1 << 16:
        raise EnvelopeRefused("malformed", "not a key package")
    try:
        parts = _package_decoder.decode(package[4:-_SIGNATURE_BYTES])
    except _UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"key package: {err}") from err
    if len(parts.key_id) != 16:
        raise EnvelopeRefused("malformed", "key package: the key id has 16 bytes")
    return parts


def _check_signature(data: bytes, public_key: bytes) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(data[-_SIGNATURE_BYTES:], data[:-_SIGNATURE_BYTES])
    except InvalidSignature:
        raise EnvelopeRefused("bad-signature", "changed on its way, or not sealed by this gateway") from None


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _package_info(gateway_id: str, key_id: bytes) -> bytes:
    return b"gatehouse content key 1\x00" + gateway_id.encode() + b"\x00" + key_id


def _public_key(data: bytes) -> hpke.MLKEM768X25519PublicKey:
    mlkem, x25519 = data[:_MLKEM_PUBLIC_BYTES], data[_MLKEM_PUBLIC_BYTES:]
    return hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(mlkem), X25519PublicKey.from_public_bytes(x25519)
    )


# msgspec reports bad UTF-8 and too deep nesting by Python's own errors.
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_header_decoder = msgspec.msgpack.Decoder(Header)
_package_decoder = msgspec.msgpack.Decoder(_Package)
