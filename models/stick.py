"""What a stick carries where there is no network: sealed batches to a collector, and its receipts back.

A file is a magic and records; a record is its kind (one byte), its length (four bytes) and its body. There
are no names, no compression and no numbers that announce what follows, so there is nothing to be misled by: a
reader holds one record at a time, whatever the file says. The last record has the SHA-256 of all before it.
What stands before a cut is whole all the same, and each record proves itself:

- batches and key packages are signed by their gateway and sealed to the collector;
- outcomes are signed by the collector's command key, under a prefix of their own, and name the gateway.

Who carries the stick can therefore lose things, and bring them late, twice or in any order, and no more.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.command import CommandKey
from models.envelope import MAX_ENVELOPE_BYTES
from models.errors import BadInput

BATCHES_SUFFIX: Final = ".ghb"
RECEIPTS_SUFFIX: Final = ".ghr"

MAX_PACKAGE_BYTES: Final = 1 << 16
MAX_STATEMENT_BYTES: Final = 45_000  # so that one fits, as base64, into a question at the gateway
MOST_OUTCOMES: Final = 20  # in one statement
MOST_MISSING: Final = 100  # ranges
MOST_DETAIL: Final = 300  # characters

BATCHES_MAGIC: Final = b"GHSB1\n"
RECEIPTS_MAGIC: Final = b"GHSR1\n"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", re.ASCII)
_DOMAIN = b"gatehouse stick outcomes 1\x00"
_SIGNATURE_BYTES = 64
_HEAD_BYTES = 5
_END = b"E"
_LIMITS: Final = {
    BATCHES_MAGIC: {b"M": 1000, b"K": MAX_PACKAGE_BYTES, b"B": MAX_ENVELOPE_BYTES, _END: 32},
    RECEIPTS_MAGIC: {b"R": MAX_STATEMENT_BYTES, _END: 32},
}


class StickUnreadable(BadInput):
    """From here on, the file is not what it should be. What was read of it before is whole."""

    def __init__(self, at: int, detail: str) -> None:
        super().__init__(f"at byte {at}: {detail}")
        self.at, self.detail = at, detail


class Manifest(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What a file of batches says of itself; nobody vouches for it."""

    gateway_id: str
    collector: str  # as the gateway calls it
    made_ms: int


class Package(msgspec.Struct, frozen=True):
    """The package of a content key that batches after it need."""

    body: bytes


class Envelope(msgspec.Struct, frozen=True):
    """A sealed batch."""

    body: bytes


class Outcome(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What came of one batch. With a `code` it was refused, and nothing of it is stored."""

    epoch: bytes
    number: int
    digest: bytes  # of the envelope as the collector had it
    quarantined: int = 0  # items that the collector keeps aside because they cannot be right
    code: str = ""  # of `models.protocol.Code`
    detail: str = ""  # why it was refused, or the first item set aside
    bad_seq: int | None = None  # the one item that it was refused for, where that is known


class KeyOffer(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """As `models.protocol.CollectorKeyOffer`."""

    suite: str
    collector_key: str
    collector_key_proof: str


class Statement(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What a collector tells one gateway of some of its batches."""

    gateway_id: str
    told_ms: int
    outcomes: list[Outcome]
    epoch: bytes = b""  # of what is missing
    missing: list[tuple[int, int]] = []  # first and last numbers, as in a receipt
    key: KeyOffer | None = None  # what content keys are to be sealed to from now on


class StatementRefused(BadInput):
    """Not what our collector has said to this gateway.

    `code` is one of: malformed, bad-signature, foreign-gateway.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class StickWriter:
    """Writes one file, record after record. Whoever opened `file` makes it durable."""

    def __init__(self, file: BinaryIO, magic: bytes) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.size = 0
        self._write(magic)

    def add_manifest(self, manifest: Manifest) -> None:
        self._record(b"M", msgspec.msgpack.encode(manifest))

    def add_package(self, package: bytes) -> None:
        self._record(b"K", package)

    def add_envelope(self, body: bytes) -> None:
        self._record(b"B", body)

    def add_statement(self, signed: bytes) -> None:
        self._record(b"R", signed)

    def end(self) -> None:
        self._record(_END, self._digest.digest())

    def _record(self, kind: bytes, body: bytes) -> None:
        self._write(kind + len(body).to_bytes(4, "big") + body)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


def record_bytes(body: int) -> int:
    """How much of a file a record takes whose body has so many bytes."""
    return _HEAD_BYTES + body


def read_batches(file: BinaryIO) -> Iterator[Manifest | Package | Envelope]:
    """What a file of batches holds, in its order; the manifest first. Raise StickUnreadable where it ends."""
    has_manifest = False
    for at, kind, body in _records(file, BATCHES_MAGIC):
        if (kind == b"M") is has_manifest:
            raise StickUnreadable(at, "a file of batches begins with one manifest, and has no other")
        if kind == b"M":
            has_manifest = True
            yield _read_manifest(at, body)
        else:
            yield Package(body) if kind == b"K" else Envelope(body)
    if not has_manifest:
        raise StickUnreadable(len(BATCHES_MAGIC), "there is no manifest")


def read_receipts(file: BinaryIO) -> Iterator[bytes]:
    """The signed statements of a file of receipts. Raise StickUnreadable where it ends."""
    for _, _, body in _records(file, RECEIPTS_MAGIC):
        yield body


def sign_statement(statement: Statement, key: CommandKey) -> bytes:
    """As it travels. Raise ValueError for one that is too large to be read."""
    body = msgspec.msgpack.encode(statement)
    signed = body + key.signature(_DOMAIN + body)
    if len(signed) > MAX_STATEMENT_BYTES or len(statement.outcomes) > MOST_OUTCOMES:
        raise ValueError("tell it in several statements")
    return signed


def verify_statement(signed: bytes, *, gateway_id: str, public_key: bytes) -> Statement:
    """The statement, once it is certain that the owner of `public_key` has made it to this gateway.

    Raise StatementRefused.
    """
    if not _SIGNATURE_BYTES < len(signed) <= MAX_STATEMENT_BYTES:
        raise StatementRefused("malformed", "not a statement of a collector")
    body = signed[:-_SIGNATURE_BYTES]
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed[-_SIGNATURE_BYTES:], _DOMAIN + body)
    except InvalidSignature:
        raise StatementRefused(
            "bad-signature", "changed on its way, or not made by the collector that this gateway belongs to"
        ) from None
    try:
        statement = _statement.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise StatementRefused("malformed", f"signed, but no statement ({err}); update edge-agent") from None
    if statement.gateway_id != gateway_id:
        raise StatementRefused("foreign-gateway", f"made to {statement.gateway_id}, not to {gateway_id}")
    return statement


def kind_of(start: bytes) -> Literal["batches", "receipts"] | None:
    """What a file is that begins so."""
    if start.startswith(BATCHES_MAGIC):
        return "batches"
    return "receipts" if start.startswith(RECEIPTS_MAGIC) else None


def _records(file: BinaryIO, magic: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Where each record begins, its kind, its body; without the last, which is checked."""
    digest, limits = hashlib.sha256(), _LIMITS[magic]
    start = file.read(len(magic))
    if start != magic:
        found = kind_of(start)
        what = f"this is a file of {found}" if found else "this is no file of ours"
        raise StickUnreadable(0, f"{what}; a file of {kind_of(magic)} is wanted")
    digest.update(start)
    at = len(magic)
    while True:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            raise StickUnreadable(at, "the file was cut off here; copy it whole, or make it again")
        kind, length = head[:1], int.from_bytes(head[1:], "big")
        if kind not in limits or length > limits[kind]:
            raise StickUnreadable(at, "the file is damaged here; copy it again, or make it again")
        body = file.read(length)
        if len(body) < length:
            raise StickUnreadable(at, "the file was cut off here; copy it whole, or make it again")
        if kind == _END:
            if body != digest.digest():
                raise StickUnreadable(at, "what comes before is not what was written; make the file again")
            if file.read(1):
                raise StickUnreadable(at + _HEAD_BYTES + length, "something follows the end of the file")
            return
        digest.update(head + body)
        yield at, kind, body
        at += _HEAD_BYTES + length


def _read_manifest(at: int, body: bytes) -> Manifest:
    try:
        manifest = _manifest.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise StickUnreadable(at, f"the manifest cannot be read ({err})") from None
    if not _NAME.fullmatch(manifest.gateway_id) or not _NAME.fullmatch(manifest.collector):
        raise StickUnreadable(at, "the manifest names no gateway and collector")
    return manifest


_manifest = msgspec.msgpack.Decoder(Manifest)
_statement = msgspec.msgpack.Decoder(Statement)
