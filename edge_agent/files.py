"""Writes files so that after a loss of power either the old or the whole new one is there."""

import fcntl
import os
from pathlib import Path


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` in one step. Not even while it is written has the file more rights than `mode`."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def rewrite_durably(path: Path, data: bytes) -> None:
    """As `write_durably`, but the owner and the rights of the file stay. A new one is for all to read."""
    try:
        before = path.stat()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
        return
    write_durably(path, data, mode=before.st_mode & 0o777)
    path.chmod(before.st_mode & 0o777)  # the umask, 077 as a service, may have taken some of them
    if os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds, and under which names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_locked(lock: Path) -> bool:
    """Whether another process holds this file locked. Raises PermissionError for who may not know."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError:
        raise
    except OSError:
        return False
    return False
