"""A configuration of a gateway: what files it is made of, and how a collector pushes one.

How a pushed one travels is in `models.statement`: where commands do, and none can pass for the other.

Secrets are in files beside a configuration, which are no part of it.
"""

import base64
import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import zstandard

from models.command import ID, CommandKey
from models.errors import BadInput
from models.statement import Kind
from models.times import DAY_MS

FORMAT: Final = 1
MAIN: Final = "gateway.yaml"
"""The name of the file that names all others, whatever it is called on disk."""

MOST_FILES: Final = 500
MOST_BYTES: Final = 8_000_000  # of all files together
MAX_PUSHED_BYTES: Final = 1_000_000  # compressed and signed: 5000 devices take 100 kB
MOST_TOLD_BYTES: Final = 24_000  # compressed; a configuration that takes more is not told in an event

SHORTEST_LIFE_MS: Final = 60_000
LONGEST_LIFE_MS: Final = 7 * DAY_MS

CONFIRM_S: Final = 120.0
SHORTEST_CONFIRM_S: Final = 5.0
LONGEST_CONFIRM_S: Final = 3600.0

FILE_NAME: Final = re.compile(r"(?:\w[\w.-]{0,99}/){0,3}\w[\w.-]{0,99}")
"""A file inside of the folder of a configuration: no way up, no root, nothing hidden."""

_LEVEL = 10
_MOST_UNPACKED = MOST_BYTES + 100_000

State = Literal["tried", "applied", "refused", "reverted"]

OUTCOMES: Final[Mapping[str, State]] = {
    "config.tried": "tried",
    "config.applied": "applied",
    "config.refused": "refused",
    "config.reverted": "reverted",
}
"""Kinds of the events by which a gateway tells what came of a configuration, and the state that each means.

Tried: it runs, and is kept once the collector is reached with it. Refused: it never ran."""

EXPIRED: Final = "expired"


class ConfigurationInvalid(BadInput):
    """Not the files of a configuration."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Pushed(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Files for one gateway; those that it has beside them stay as they are."""

    id: str  # the idempotency key, which whoever pushes chooses
    gateway_id: str
    number: int  # counted at the collector for each gateway; one below that the gateway knows is a replay
    base: str  # digest of the configuration that this is a change of; "" whatever the gateway has now
    packed: bytes  # see `pack_files`
    confirm_s: float  # the collector must be reached within this, or the gateway reverts by itself
    issued_ms: int
    expires_ms: int  # from here on it is not begun with
    issued_by: str
    why: str

    def __repr__(self) -> str:
        return f"Pushed(id={self.id!r}, number={self.number}, {len(self.packed)} bytes)"


class ConfigReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of an event that tells what came of a configuration."""

    origin: Literal["on-site", "collector", "gateway"]
    """Who wanted it; the gateway itself does when it reverts."""
    by: str
    why: str = ""
    id: str = ""  # of a pushed one
    version: int = 0  # of the gateway's own history
    digest: str = ""  # of the configuration that runs after this
    code: str = ""  # why not, for programs
    detail: str = ""  # and for people
    problems: list[str] = []  # mistakes with file, line and hint
    added: list[str] = []  # devices, the first of them
    removed: list[str] = []
    changed: int = 0  # how many were changed
    waits_for_a_start: list[str] = []  # sections
    content: str = ""  # `told_files` of what runs after this; "" when it is too much


def digest_of(files: Mapping[str, bytes]) -> str:
    """Of a whole configuration: SHA-256 in hex. Another name or byte of any file gives another one."""
    return hashlib.sha256(
        b"gatehouse configuration 1\x00" + _encoder.encode(sorted(files.items()))
    ).hexdigest()


def pack_files(files: Mapping[str, bytes]) -> bytes:
    """All files in one piece, compressed. The same files give the same bytes."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_encoder.encode(sorted(files.items())))


def unpack_files(packed: bytes) -> dict[str, bytes]:
    """What `pack_files` was given. Raise ConfigurationInvalid; never uses more memory than the limits allow.

    The names may be anything: see `check_files`.
    """
    try:
        # Said first, or a few bytes could ask for all the memory there is.
        if not 0 <= zstandard.frame_content_size(packed) <= _MOST_UNPACKED:
            raise ConfigurationInvalid(f"it does not say that it has below {_MOST_UNPACKED} bytes")
        raw = zstandard.ZstdDecompressor().decompress(packed)
        pairs = _files_decoder.decode(raw)
    except (zstandard.ZstdError, msgspec.MsgspecError, RecursionError, MemoryError) as err:
        raise ConfigurationInvalid(f"the files cannot be unpacked ({err})") from None
    files = dict(pairs)
    if len(files) != len(pairs):
        raise ConfigurationInvalid("the same file comes twice")
    return files


def check_files(files: Mapping[str, bytes]) -> None:
    """Whether they may be pushed at all. Raise ConfigurationInvalid."""
    if not files:
        raise ConfigurationInvalid("no file is in it")
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise ConfigurationInvalid(f"more than {MOST_FILES} files or {MOST_BYTES} bytes")
    for name in files:
        if not FILE_NAME.fullmatch(name):
            raise ConfigurationInvalid(f"{name[:100]!r} is no file of a configuration")


def told_files(files: Mapping[str, bytes]) -> str:
    """For an event: base64; "" when it is too much for one."""
    packed = pack_files(files)
    return base64.b64encode(packed).decode() if len(packed) <= MOST_TOLD_BYTES else ""


def files_told(content: str) -> dict[str, bytes]:
    """What `told_files` was given. Raise ConfigurationInvalid."""
    try:
        return unpack_files(base64.b64decode(content, validate=True))
    except ValueError as err:
        raise ConfigurationInvalid(str(err)) from None


def difference(
    old: Mapping[str, bytes], new: Mapping[str, bytes], names: tuple[str, str] = ("before", "after")
) -> str:
    """Line by line, as `diff --unified` has it; "" when there is none."""
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = (files.get(name, b"").decode(errors="replace").splitlines() for files in (old, new))
        lines += difflib.unified_diff(before, after, f"{names[0]}/{name}", f"{names[1]}/{name}", lineterm="")
    return "\n".join(lines)


def sign_configuration(pushed: Pushed, key: CommandKey) -> bytes:
    """The configuration as it travels."""
    return _CONFIGURATIONS.sign(pushed, key.signature)


def is_configuration(signed: bytes) -> bool:
    """Whether it says of itself that it is one."""
    return _CONFIGURATIONS.claims_to_be(signed)


def verify_configuration(signed: bytes, *, gateway_id: str, public_key: bytes, now_ms: int) -> Pushed:
    """See `models.statement.Kind.verify`. Its files are not unpacked yet. Raise StatementInvalid."""
    return _CONFIGURATIONS.verify(signed, gateway_id=gateway_id, public_key=public_key, now_ms=now_ms)


def _mistake_in(pushed: Pushed) -> str:
    if SHORTEST_CONFIRM_S <= pushed.confirm_s <= LONGEST_CONFIRM_S:
        return ""
    return "its time to be confirmed is none"


_CONFIGURATIONS: Final = Kind(
    Pushed,
    name="configuration",
    magic=b"GHG",
    version=FORMAT,
    most_bytes=MAX_PUSHED_BYTES,
    longest_life_ms=LONGEST_LIFE_MS,
    is_right=lambda pushed: ID.fullmatch(pushed.id) is not None and pushed.number >= 1,
    mistake_in=_mistake_in,
)
_encoder = msgspec.msgpack.Encoder(order="deterministic")
_files_decoder: msgspec.msgpack.Decoder[Sequence[tuple[str, bytes]]] = msgspec.msgpack.Decoder(
    list[tuple[str, bytes]]
)
