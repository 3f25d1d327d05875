"""Content keys on their way from a collector to a higher one: sealed once more, for the same gateway.

The envelopes themselves go on as their gateway has signed them. A collector that forwards can therefore show
the higher one what it may read, and forge nothing.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag

from models.envelope.collector_key import CollectorPrivateKey
from models.envelope.layout import UNREADABLE, EnvelopeRefused, Origin
from models.envelope.packages import ContentKey, open_secret
from models.envelope.signatures import check_signature
from models.envelope.suites import SIGNATURE_BYTES, Signer, Suite

_MAGIC: Final = b"GHF1"
_MAX_BYTES: Final = 1 << 16


class _Forwarded(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    collector_id: str  # as the higher collector knows the one that forwards
    gateway_id: str
    key_id: bytes
    suite: int  # of the envelopes
    sealed: bytes


def forward_package(
    package: bytes,
    *,
    origin: Origin,
    private_keys: Iterable[CollectorPrivateKey],
    collector_id: str,
    suite: Suite,
    higher_key: bytes,
    signing_key: Signer,
) -> bytes:
    """What `origin` has sent us in `package`, for the owner of `higher_key`. Raise EnvelopeRefused.

    `suite` is by which we are enrolled there under `collector_id`.
    """
    key_id, of_envelopes, secret = open_secret(package, origin=origin, private_keys=private_keys)
    info = _info(collector_id, origin.gateway_id, key_id, of_envelopes.number)
    parts = _Forwarded(
        collector_id=collector_id,
        gateway_id=origin.gateway_id,
        key_id=key_id,
        suite=of_envelopes.number,
        sealed=suite.transport.seal(secret, public_key=higher_key, info=info),
    )
    signed = _MAGIC + msgspec.msgpack.encode(parts)
    return signed + signing_key.sign(signed)


def forwarded_by(package: bytes) -> tuple[str, str]:
    """Which collector and which gateway a package says it is of; not verified. Raise EnvelopeRefused."""
    parts = _split(package)
    return parts.collector_id, parts.gateway_id


def open_forwarded(
    package: bytes, *, collector: Origin, suite: Suite, private_keys: Iterable[CollectorPrivateKey]
) -> ContentKey:
    """The content key, for envelopes of `suite`, that `collector` has forwarded. Raise EnvelopeRefused."""
    parts = _split(package)
    if parts.collector_id != collector.gateway_id:
        raise EnvelopeRefused(
            "foreign-gateway", f"made by {parts.collector_id!r}, sent by {collector.gateway_id!r}"
        )
    check_signature(package, collector.suite, collector)
    if parts.suite != suite.number:
        raise EnvelopeRefused("wrong-suite", f"a key of suite {parts.suite} for a gateway of {suite.name}")
    info = _info(parts.collector_id, parts.gateway_id, parts.key_id, parts.suite)
    for private_key in private_keys:
        if private_key.suite is not collector.suite:
            continue
        try:
            secret = private_key.open(parts.sealed, info=info)
        except (InvalidTag, ValueError):
            continue
        if len(secret) != suite.key_bytes:
            raise EnvelopeRefused("malformed", "key package: a key of another size than its suite has")
        return ContentKey(parts.key_id, suite, suite.aead(secret))
    raise EnvelopeRefused("cannot-open", "the key package was made for another collector")


def _split(package: bytes) -> _Forwarded:
    if not package.startswith(_MAGIC) or not SIGNATURE_BYTES + len(_MAGIC) < len(package) < _MAX_BYTES:
        raise EnvelopeRefused("malformed", "not a forwarded key package")
    try:
        parts = _decoder.decode(package[len(_MAGIC) : -SIGNATURE_BYTES])
    except UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"forwarded key package: {err}") from err
    if len(parts.key_id) != 16:
        raise EnvelopeRefused("malformed", "forwarded key package: the key id has 16 bytes")
    return parts


def _info(collector_id: str, gateway_id: str, key_id: bytes, suite: int) -> bytes:
    names = (b"gatehouse forwarded content key 1", collector_id.encode(), gateway_id.encode(), b"%d" % suite)
    return b"\x00".join(names) + b"\x00" + key_id


_decoder = msgspec.msgpack.Decoder(_Forwarded)
