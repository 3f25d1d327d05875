"""Writes a file on a stick: whole under its own name, or not at all."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from edge_agent.files import sync_folder
from models.errors import NeedsAHuman
from models.stick import BATCHES_SUFFIX
from models.times import utc_text

PART: Final = ".part"
_SPARE: Final = 1 << 20  # bytes that are left free


class CannotWrite(NeedsAHuman):
    """The file cannot be written there; what waits stays in the buffer."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; nothing was written, and all stays in the buffer")
        self.path, self.detail = path, detail


def place_for(target: Path, *, gateway_id: str, collector: str, now_ms: int) -> Path:
    """`target` itself, or a file with a name of its own where that is a folder."""
    if not target.is_dir():
        return target
    stamp = utc_text(now_ms)[:19].replace("-", "").replace(":", "").replace(" ", "T")
    return target / f"{gateway_id}-{collector}-{stamp}{BATCHES_SUFFIX}"


def check_room(path: Path, size: int) -> None:
    """Raise CannotWrite unless a file of `size` bytes finds room there."""
    try:
        found = os.statvfs(path.parent)
    except OSError as err:
        raise CannotWrite(path, err.strerror or str(err)) from err
    free = found.f_bavail * found.f_frsize
    if free < size + _SPARE:
        needed = -(-(size + _SPARE) // (1 << 20))
        raise CannotWrite(path, f"needs {needed} MB, and {free >> 20} MB are free; take a larger stick")


@contextlib.contextmanager
def written_whole(path: Path, *, part: str) -> Iterator[BinaryIO]:
    """A file that gets the name `path` at the end of the block; until then it is called `part`, beside it.

    What a command that was killed has left there is written over. Raise CannotWrite.
    """
    unfinished = path.with_name(part)
    is_ours = False
    try:
        with unfinished.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotWrite(path, "another export is being written there") from None
            is_ours = True
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(path)
        with contextlib.suppress(OSError):  # not every file system of a stick can do that
            sync_folder(path.parent)
    except OSError as err:
        raise CannotWrite(path, err.strerror or str(err)) from err
    finally:
        if is_ours:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
