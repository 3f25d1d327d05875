"""Sealing a batch, and opening it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from models.batch import BatchMalformed, Columns, decode_columns, encode_items
from models.envelope.layout import EnvelopeRefused, Header, Origin, Parts, join, split
from models.envelope.packages import ContentKey
from models.envelope.signatures import check_signature
from models.envelope.suites import Signer
from models.reading import Item


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished envelope. `digest` is that of its suite; the collector's receipt must name the same."""

    body: bytes
    digest: bytes


def seal(
    items: Sequence[Item | None],
    *,
    gateway_id: str,
    epoch: bytes,
    number: int,
    first_seq: int,
    previous: bytes,
    content_key: ContentKey,
    signing_key: Signer,
    earlier: bool = False,
) -> Sealed:
    """Seal items that have the sequence numbers from `first_seq` on; `earlier` is as in `Columns`.

    Raise ContentKeyWorn; then a fresh key seals the same.
    """
    suite = content_key.suite
    header = Header(
        suite=suite.number,
        gateway_id=gateway_id,
        epoch=epoch,
        number=number,
        first_seq=first_seq,
        count=len(items),
        key_id=content_key.key_id,
        nonce=content_key.take_nonce(),
        previous=previous,
    )
    clear = join(header)
    signed = clear + content_key.aead.encrypt(
        _nonce(header.nonce), encode_items(items, earlier=earlier), clear
    )
    body = signed + signing_key.sign(signed)
    return Sealed(body, suite.digest(body))


def read_header(body: bytes) -> Header:
    """The header as it stands there, which nobody has verified yet."""
    return split(body).header


def envelope_digest(body: bytes) -> bytes:
    """By the suite that it names. Raise EnvelopeRefused for what is no envelope."""
    return split(body).suite.digest(body)


def is_intact(body: bytes, digest: bytes) -> bool:
    """Whether these are still the bytes whose digest that is."""
    try:
        return envelope_digest(body) == digest
    except EnvelopeRefused:
        return False


def verify(body: bytes, *, origin: Origin) -> Header:
    """The header, once it is certain that `origin` sealed this envelope."""
    return _verified(body, origin).header


def open_envelope(body: bytes, *, origin: Origin, content_key: ContentKey) -> tuple[Header, Columns]:
    """Verify, decrypt and decode. Raise EnvelopeRefused; then nothing of the content was used."""
    parts = _verified(body, origin)
    header = parts.header
    if header.key_id != content_key.key_id:
        raise EnvelopeRefused("unknown-key", f"sealed with key {header.key_id.hex()}")
    try:
        columns = decode_columns(
            content_key.aead.decrypt(_nonce(header.nonce), parts.ciphertext, parts.clear)
        )
    except InvalidTag:
        raise EnvelopeRefused("cannot-open", "does not decrypt with the key that it names") from None
    except BatchMalformed as err:
        raise EnvelopeRefused("malformed", str(err)) from err
    if columns.count != header.count:
        raise EnvelopeRefused("malformed", f"header says {header.count} items, {columns.count} are in it")
    return header, columns


def _verified(body: bytes, origin: Origin) -> Parts:
    parts = split(body)
    header = parts.header
    if header.gateway_id != origin.gateway_id:
        raise EnvelopeRefused(
            "foreign-gateway", f"sealed by {header.gateway_id!r}, sent by {origin.gateway_id!r}"
        )
    check_signature(body, parts.suite, origin)
    return parts


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")
