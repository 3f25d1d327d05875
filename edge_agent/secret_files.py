"""Reads and makes the files that hold passwords and keys. What is in them is in no message."""

import os
import secrets
from pathlib import Path
from typing import Final

from edge_agent.files import sync_folder, write_durably
from models.errors import NeedsAHuman

_MOST_BYTES: Final = 4096


class SecretUnusable(NeedsAHuman):
    """A file with a password or key cannot be read, or holds none."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; put it right, it is read again within a minute")
        self.path, self.detail = path, detail


def read_secret(path: Path) -> str:
    """The one line in the file, without its end. Raises SecretUnusable."""
    try:
        text = _read(path).decode().strip("\r\n")
    except UnicodeDecodeError:
        raise SecretUnusable(path, "it is not UTF-8 text") from None
    if not text or "\n" in text:
        raise SecretUnusable(path, "it must hold one line, and nothing else")
    return text


def read_secret_bytes(path: Path, *sizes: int) -> bytes:
    """A key of one of these sizes in bytes, raw or in hex. Raises SecretUnusable."""
    data = _read(path)
    if len(data) in sizes:
        return data
    try:
        key = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) not in sizes:
        wanted = " or ".join(f"{size} bytes, or {2 * size} hex digits" for size in sizes)
        raise SecretUnusable(path, f"it must hold {wanted}")
    return key


def make_secret_file(path: Path, secret: bytes) -> None:
    """Write a new secret, for us alone. Several may make it at once; that of the first is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    write_durably(mine, secret, mode=0o600)
    try:
        os.link(mine, path)
    except FileExistsError:
        return
    finally:
        mine.unlink()
        sync_folder(path.parent)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as err:
        raise SecretUnusable(path, err.strerror or "it cannot be read") from err
