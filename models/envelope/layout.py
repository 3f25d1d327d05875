"""The bytes of an envelope: which part is where, before anything of it is believed."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from models.envelope.suites import DIGEST_BYTES, SIGNATURE_BYTES, SUITES, Suite
from models.errors import BadInput

MAX_ENVELOPE_BYTES: Final = 8 << 20
FIRST_PREVIOUS: Final = bytes(DIGEST_BYTES)
"""The `previous` of the first envelope of an epoch."""

_MAGIC: Final = b"GHE1"

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises for bytes that are not ours; bad UTF-8 and too deep nesting by Python's own errors."""


class EnvelopeRefused(BadInput):
    """The envelope or key package is not what it should be; nothing of it may be used.

    `code` is one of: malformed, foreign-gateway, wrong-suite, bad-signature, unknown-key, cannot-open.
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
class Origin:
    """A gateway as its collector knows it: who seals, by which suite, and signs with which key."""

    gateway_id: str
    suite: Suite
    public_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """An envelope taken apart. Nobody has verified anything of it yet."""

    header: Header
    suite: Suite
    clear: bytes = field(repr=False)  # magic and header as they were sent
    ciphertext: bytes = field(repr=False)


def join(header: Header) -> bytes:
    """The beginning of an envelope, up to its ciphertext."""
    encoded = msgspec.msgpack.encode(header)
    return _MAGIC + len(encoded).to_bytes(2, "big") + encoded


def split(body: bytes) -> Parts:
    """Raise EnvelopeRefused for what cannot be an envelope of a suite that is known here."""
    if len(body) > MAX_ENVELOPE_BYTES:
        raise EnvelopeRefused("malformed", f"{len(body)} bytes; at most {MAX_ENVELOPE_BYTES}")
    if body[:4] != _MAGIC:
        raise EnvelopeRefused("malformed", "not an envelope")
    end = 6 + int.from_bytes(body[4:6], "big")
    if len(body) < end + SIGNATURE_BYTES:
        raise EnvelopeRefused("malformed", "cut off")
    try:
        header = _decoder.decode(body[6:end])
    except UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"header: {err}") from err
    suite = SUITES.get(header.suite)
    if suite is None:
        known = " and ".join(map(str, SUITES))
        raise EnvelopeRefused("malformed", f"suite {header.suite}; this side knows suites {known}")
    sizes = (len(header.epoch), len(header.key_id), len(header.previous))
    numbers = (header.number, header.first_seq, header.count, header.nonce)
    if sizes != (16, 16, DIGEST_BYTES) or not all(1 <= number < 1 << 62 for number in numbers):
        raise EnvelopeRefused("malformed", "a field of the header has an impossible size")
    return Parts(header, suite, body[:end], body[end:-SIGNATURE_BYTES])


_decoder = msgspec.msgpack.Decoder(Header)
