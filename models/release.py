"""A release of the agent: what its manifest says, and who has signed it.

A release key (Ed25519) signs a prefix of its own and the manifest, which names each file with its digest.
Nothing else that is signed anywhere can pass for a release, and no other key of a gateway or a collector can
sign one.
"""

import re
from pathlib import PurePosixPath
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import NeedsAHuman

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
LIBRARY: Final = "lib"
"""The folder of a release that Python code is imported from. All files of a release lie in it."""

MOST_MANIFEST_BYTES: Final = 8 << 20
MOST_FILES: Final = 20_000
MOST_BYTES: Final = 512 << 20

_DOMAIN: Final = b"gatehouse release 1\x00"
_VERSION: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){1,3}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ReleaseRefused(NeedsAHuman):
    """Not a release for this gateway. Nothing of it is run.

    `code` is one of: malformed, bad-signature, not-newer, too-old, other-machine, format, damaged, too-large.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code}); nothing was changed")
        self.code, self.detail = code, detail


class Formats(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Formats of a store, by number: which one a release writes, and which it can read."""

    writes: int
    reads: tuple[int, ...]


class ReleasedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file, by size in bytes and digest."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release is. `machine` is `any` where it brings no compiled code."""

    version: str
    from_version: str  # the oldest that may be updated to it in one step
    python: str  # such as 3.11
    machine: str  # such as x86_64 or aarch64, as `uname -m` says it
    buffer: Formats
    files: dict[str, ReleasedFile]


def version_key(version: str) -> tuple[int, ...]:
    """To compare versions by. Raise ReleaseRefused for what is none."""
    if not _VERSION.fullmatch(version):
        raise ReleaseRefused("malformed", f"{version!r} is no version such as 1.4.2")
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def sign_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The manifest as it is packed, and its signature."""
    data = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
    return data, key.sign(_DOMAIN + data)


def verified_manifest(data: bytes, signature: bytes, public_key: bytes) -> Manifest:
    """What the owner of the release key says. Raise ReleaseRefused."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _DOMAIN + data)
    except InvalidSignature:
        raise ReleaseRefused(
            "bad-signature", "this is not signed with the release key that this gateway trusts"
        ) from None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as err:
        raise ReleaseRefused("malformed", f"signed, but no manifest that this version knows: {err}") from None
    version_key(manifest.version), version_key(manifest.from_version)
    for name, file in manifest.files.items():
        if not _is_safe(name) or file.size < 0 or not _SHA256.fullmatch(file.sha256):
            raise ReleaseRefused("malformed", f"its manifest names {name!r}, which no release may hold")
    if len(manifest.files) > MOST_FILES or sum(file.size for file in manifest.files.values()) > MOST_BYTES:
        raise ReleaseRefused("too-large", f"it has more than {MOST_FILES} files or {MOST_BYTES >> 20} MB")
    return manifest


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and str(PurePosixPath(name)) == name
    return plain and len(name) <= 255 and len(parts) > 1 and parts[0] == LIBRARY and ".." not in parts


def check_fits(
    manifest: Manifest, *, running: str, highest: str, python: str, machine: str, formats: Formats
) -> None:
    """Raise ReleaseRefused unless it may follow the `running` version here, and be left again.

    `highest` is the newest that was ever in use: an old release, however well signed, does not come back by
    this way. `formats` are those of the running version: it must be able to read what the new one writes,
    or there were no way back.
    """
    if version_key(manifest.version) <= max(version_key(running), version_key(highest)):
        newest = max(running, highest, key=version_key)
        raise ReleaseRefused("not-newer", f"it is {manifest.version}, and {newest} was in use here")
    if version_key(running) < version_key(manifest.from_version):
        raise ReleaseRefused(
            "too-old", f"update to {manifest.from_version} first: {manifest.version} cannot follow {running}"
        )
    if manifest.python != python or manifest.machine not in ("any", machine):
        wanted = f"Python {manifest.python} on {manifest.machine}"
        raise ReleaseRefused("other-machine", f"it is for {wanted}; this is Python {python} on {machine}")
    if formats.writes not in manifest.buffer.reads:
        raise ReleaseRefused("format", f"it cannot read the buffer of this version (format {formats.writes})")
    if manifest.buffer.writes not in formats.reads:
        raise ReleaseRefused(
            "format",
            f"{running} could not read its buffer (format {manifest.buffer.writes}), so there were no way "
            "back; update to a version between them first",
        )
