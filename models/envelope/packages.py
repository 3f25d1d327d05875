"""Content keys, and the signed packages in which they travel."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag

from models.envelope.collector_key import CollectorPrivateKey
from models.envelope.layout import UNREADABLE, EnvelopeRefused, Origin
from models.envelope.signatures import check_signature
from models.envelope.suites import SIGNATURE_BYTES, STANDARD, SUITES, Aead, Signer, Suite
from models.errors import RetryLater

MOST_BATCHES: Final = 1 << 16
"""For one content key. Nonces come from a counter, so what limits GCM is how much is encrypted under one key:
its distance from an ideal cipher is about b**2 / 2**129 for b blocks of 16 bytes. So many batches of the
usual 15 kB are 2**26 blocks, and of the greatest size 2**35: the distance stays below 2**-58."""

MOST_SECONDS: Final = 86_400.0
"""For one content key: who ever gets one out of a gateway's memory reads one day with it."""

_MAGICS: Final = {suite.number: b"GHK%d" % suite.number for suite in SUITES.values()}
_MAGIC_BYTES: Final = 4
_MAX_PACKAGE_BYTES: Final = 1 << 16


class ContentKeyWorn(RetryLater):
    """As many batches as one key may seal have been sealed with it: go on with a fresh one."""

    def __init__(self) -> None:
        super().__init__(f"a content key seals at most {MOST_BATCHES} batches; a fresh one is needed")


@dataclass(slots=True)
class ContentKey:
    """The symmetric key of one gateway for one collector, for a time. Lives in memory alone."""

    key_id: bytes
    suite: Suite
    aead: Aead = field(repr=False)
    sealed: int = 0  # batches, so far
    _nonces: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1), repr=False)

    @classmethod
    def fresh(
        cls, *, gateway_id: str, collector_key: bytes, signing_key: Signer, suite: Suite = STANDARD
    ) -> tuple["ContentKey", bytes]:
        """A new key, and the signed package that carries it to the owner of `collector_key`."""
        key_id, secret = os.urandom(16), os.urandom(suite.key_bytes)
        sealed = suite.transport.seal(secret, public_key=collector_key, info=_info(suite, gateway_id, key_id))
        signed = _MAGICS[suite.number] + msgspec.msgpack.encode(_Package(gateway_id, key_id, sealed))
        return cls(key_id, suite, suite.aead(secret)), signed + signing_key.sign(signed)

    @property
    def is_worn(self) -> bool:
        """Whether no further batch may be sealed with it."""
        return self.sealed >= MOST_BATCHES

    def take_nonce(self) -> int:
        """A number that this key has never given, from any thread. Raise ContentKeyWorn."""
        nonce = next(self._nonces)
        if nonce > MOST_BATCHES:
            raise ContentKeyWorn
        self.sealed = nonce
        return nonce


class _Package(msgspec.Struct, array_like=True, frozen=True):
    gateway_id: str
    key_id: bytes
    sealed: bytes


def package_key_id(package: bytes) -> bytes:
    """Which key a package says it carries; not verified."""
    return _split(package)[1].key_id


def open_package(
    package: bytes, *, origin: Origin, private_keys: Iterable[CollectorPrivateKey]
) -> ContentKey:
    """The content key that `origin` sent to the owner of one of `private_keys`."""
    key_id, suite, secret = open_secret(package, origin=origin, private_keys=private_keys)
    return ContentKey(key_id, suite, suite.aead(secret))


def open_secret(
    package: bytes, *, origin: Origin, private_keys: Iterable[CollectorPrivateKey]
) -> tuple[bytes, Suite, bytes]:
    """Key id, suite and the secret itself, for who must seal it once more: to be let go of at once."""
    suite, parts = _split(package)
    if parts.gateway_id != origin.gateway_id:
        raise EnvelopeRefused(
            "foreign-gateway", f"made by {parts.gateway_id!r}, sent by {origin.gateway_id!r}"
        )
    check_signature(package, suite, origin)
    info = _info(suite, parts.gateway_id, parts.key_id)
    for private_key in private_keys:
        if private_key.suite is not suite:
            continue
        try:
            secret = private_key.open(parts.sealed, info=info)
        except (InvalidTag, ValueError):
            continue
        if len(secret) != suite.key_bytes:
            raise EnvelopeRefused("malformed", "key package: a key of another size than its suite has")
        return parts.key_id, suite, secret
    raise EnvelopeRefused(
        "cannot-open", "the key package was made for another collector; enrol the gateway again"
    )


def _split(package: bytes) -> tuple[Suite, _Package]:
    suite = next((SUITES[n] for n, magic in _MAGICS.items() if package.startswith(magic)), None)
    if suite is None or not SIGNATURE_BYTES + _MAGIC_BYTES < len(package) < _MAX_PACKAGE_BYTES:
        raise EnvelopeRefused("malformed", "not a key package")
    try:
        parts = _decoder.decode(package[_MAGIC_BYTES:-SIGNATURE_BYTES])
    except UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"key package: {err}") from err
    if len(parts.key_id) != 16:
        raise EnvelopeRefused("malformed", "key package: the key id has 16 bytes")
    return suite, parts


def _info(suite: Suite, gateway_id: str, key_id: bytes) -> bytes:
    return b"gatehouse content key %d\x00" % suite.number + gateway_id.encode() + b"\x00" + key_id


_decoder = msgspec.msgpack.Decoder(_Package)
