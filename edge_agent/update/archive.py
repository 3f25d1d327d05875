"""Packs a release, and unpacks one: only what its signed manifest names, byte for byte."""

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import IO, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.files import sync_folder
from models.errors import RetryLater
from models.release import (
    LIBRARY,
    MANIFEST,
    MOST_MANIFEST_BYTES,
    SIGNATURE,
    Formats,
    Manifest,
    ReleasedFile,
    ReleaseRefused,
    sign_manifest,
    verified_manifest,
)

SIGNATURE_BYTES: Final = 64
CHUNK: Final = 1 << 20
SPARE_BYTES: Final = 32 << 20  # what staging leaves free for readings


class StagingFailed(RetryLater):
    """The disk did not take the release. Nothing is left of it."""


def write_release(
    target: Path, tree: Path, key: Ed25519PrivateKey, *, version: str, from_version: str, python: str,
    machine: str, buffer: Formats,
) -> Manifest:  # fmt: skip
    """Pack the Python code in `tree`, what is to be imported lying directly in it."""
    paths = sorted(path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    names = {f"{LIBRARY}/{path.relative_to(tree).as_posix()}": path for path in paths}
    manifest = Manifest(
        version=version,
        from_version=from_version,
        python=python,
        machine=machine,
        buffer=buffer,
        files={
            name: ReleasedFile(size=path.stat().st_size, sha256=_sha256(path)) for name, path in names.items()
        },
    )
    data, signature = sign_manifest(manifest, key)
    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        for name, content in ((MANIFEST, data), (SIGNATURE, signature)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, path in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return manifest


def read_manifest(file: Path, public_key: bytes) -> Manifest:
    """What the archive says of itself. Raise ReleaseRefused."""
    with _opened(file) as archive:
        return _first_of(archive, public_key)[0]


def unpack(file: Path, folder: Path, public_key: bytes) -> Manifest:
    """Put the release into `folder`, which appears whole or not at all.

    Raise ReleaseRefused, StagingFailed.
    """
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with _opened(file) as archive:
            manifest, data, signature = _first_of(archive, public_key)
            _check_room(folder.parent, manifest)
            fresh.mkdir(mode=0o700)
            _write(fresh / MANIFEST, io.BytesIO(data), len(data))
            _write(fresh / SIGNATURE, io.BytesIO(signature), len(signature))
            _unpack_files(archive, fresh, manifest)
        for path, _, _ in os.walk(fresh, topdown=False):
            sync_folder(Path(path))
        fresh.rename(folder)
        sync_folder(folder.parent)
    except OSError as err:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StagingFailed(
            f"{err.filename or folder}: {err.strerror}; free space, then stage again"
        ) from err
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return manifest


def check_files(folder: Path, public_key: bytes) -> Manifest:
    """Whether an unpacked release is still as it was signed. Raise ReleaseRefused."""
    try:
        manifest = verified_manifest(
            (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes(), public_key
        )
        for name, known in manifest.files.items():
            path = folder / name
            if path.is_symlink() or path.stat().st_size != known.size or _sha256(path) != known.sha256:
                raise ReleaseRefused("damaged", f"{path}: is not as it was signed")
        library = folder / LIBRARY
        there = {path.relative_to(folder).as_posix() for path in library.rglob("*") if not path.is_dir()}
        if more := sorted(there - manifest.files.keys()):
            raise ReleaseRefused("damaged", f"{folder / more[0]}: is no part of the release")
    except OSError as err:
        raise ReleaseRefused("damaged", f"{err.filename}: {err.strerror}") from err
    return manifest


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r|gz")  # as a stream: nothing is looked up by its own word
    except (OSError, tarfile.TarError, EOFError) as err:
        raise ReleaseRefused("malformed", f"{file}: is no release ({err})") from err


def _first_of(archive: tarfile.TarFile, public_key: bytes) -> tuple[Manifest, bytes, bytes]:
    data = _member(archive, MANIFEST, MOST_MANIFEST_BYTES)
    signature = _member(archive, SIGNATURE, SIGNATURE_BYTES)
    return verified_manifest(data, signature, public_key), data, signature


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as err:
        raise ReleaseRefused("malformed", f"the archive is cut off or damaged ({err})") from err


def _member(archive: tarfile.TarFile, name: str, most: int) -> bytes:
    entry = _next(archive)
    if entry is None or entry.name != name or not entry.isreg() or entry.size > most:
        raise ReleaseRefused("malformed", f"it is no release: {name} is missing")
    return _read(_content(archive, entry), entry.size)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    if content is None:
        raise ReleaseRefused("malformed", f"{entry.name!r} is no file")
    return content


def _read(content: IO[bytes], size: int) -> bytes:
    try:
        data = content.read(size)
    except (tarfile.TarError, EOFError, OSError, ValueError) as err:
        raise ReleaseRefused("malformed", f"the archive is cut off or damaged ({err})") from err
    if len(data) != size:
        raise ReleaseRefused("malformed", "the archive is cut off")
    return data


def _unpack_files(archive: tarfile.TarFile, fresh: Path, manifest: Manifest) -> None:
    missing = dict(manifest.files)
    while (entry := _next(archive)) is not None:
        known = missing.pop(entry.name, None)
        if known is None or not entry.isreg() or entry.size != known.size:
            raise ReleaseRefused("damaged", f"{entry.name!r} is not what the manifest says, or stands twice")
        path = fresh / entry.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _write(path, _content(archive, entry), entry.size) != known.sha256:
            raise ReleaseRefused("damaged", f"{entry.name!r} has another content than the manifest says")
    if missing:
        raise ReleaseRefused("damaged", f"{next(iter(missing))!r} is missing")


def _write(path: Path, content: IO[bytes], size: int) -> str:
    """Write so that it survives a loss of power; the digest of what was written."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        left = size
        while left:
            data = _read(content, min(left, CHUNK))
            digest.update(data)
            file.write(data)
            left -= len(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _check_room(folder: Path, manifest: Manifest) -> None:
    wanted = sum(file.size for file in manifest.files.values()) + SPARE_BYTES
    at = os.statvfs(folder)
    free = at.f_bavail * at.f_frsize
    if free < wanted:
        raise StagingFailed(
            f"{folder}: {free >> 20} MB are free, and {wanted >> 20} MB are needed; free space"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
