"""Stands between SQLite and its files: every call of one process can be watched, delayed or refused.

SQLite reaches files through a table of functions, its VFS (https://www.sqlite.org/vfs.html). `between` copies
the table of the default VFS, puts functions of ours in a few places and makes the copy the default, so that
a program runs unchanged on it. Locks and shared memory stay as they are. The library is the very one that
Python's own `_sqlite3` is linked to.
"""

import _sqlite3
import contextlib
import ctypes
import itertools
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

OK: Final = 0
READ_ONLY: Final = 8
FULL: Final = 13
CANNOT_OPEN: Final = 14
IOERR_READ: Final = 10 | 1 << 8
IOERR_WRITE: Final = 10 | 3 << 8
IOERR_FSYNC: Final = 10 | 4 << 8
IOERR_TRUNCATE: Final = 10 | 6 << 8
IOERR_DELETE: Final = 10 | 10 << 8
IOERR_SHMSIZE: Final = 10 | 19 << 8
"""What SQLite makes of ENOSPC, EROFS and EIO in each call (https://www.sqlite.org/rescode.html)."""

OPEN_READONLY: Final = 0x1
OPEN_READWRITE: Final = 0x2
OPEN_CREATE: Final = 0x4
_ACCESS_READWRITE: Final = 1
_FCNTL_SIZE_HINT: Final = 5

_int, _int64, _ptr = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
_READ = ctypes.CFUNCTYPE(_int, _ptr, _ptr, _int, _int64)  # xWrite has the same
_CLOSE = ctypes.CFUNCTYPE(_int, _ptr)
_TRUNCATE = ctypes.CFUNCTYPE(_int, _ptr, _int64)
_SYNC = ctypes.CFUNCTYPE(_int, _ptr, _int)
_SIZE = ctypes.CFUNCTYPE(_int, _ptr, ctypes.POINTER(_int64))
_CONTROL = ctypes.CFUNCTYPE(_int, _ptr, _int, _ptr)
_SHM_MAP = ctypes.CFUNCTYPE(_int, _ptr, _int, _int, _int, ctypes.POINTER(_ptr))
# The name is a bare pointer, for SQLite's own VFS keeps it, and looks behind its end.
_OPEN = ctypes.CFUNCTYPE(_int, _ptr, _ptr, _ptr, _int, ctypes.POINTER(_int))
_DELETE = ctypes.CFUNCTYPE(_int, _ptr, ctypes.c_char_p, _int)
_ACCESS = ctypes.CFUNCTYPE(_int, _ptr, ctypes.c_char_p, _int, ctypes.POINTER(_int))


class _Methods(ctypes.Structure):
    """sqlite3_io_methods; what is not changed is a bare pointer."""

    _fields_ = (
        ("version", _int),
        ("close", _ptr),
        ("read", _ptr),
        ("write", _ptr),
        ("truncate", _ptr),
        ("sync", _ptr),
        ("size", _ptr),
        ("lock", _ptr * 3),
        ("control", _ptr),
        ("sector", _ptr * 2),
        ("shm_map", _ptr),
        ("shm_rest", _ptr * 3),
        ("fetch", _ptr * 2),
    )


class _Vfs(ctypes.Structure):
    """sqlite3_vfs."""

    _fields_ = (
        ("version", _int),
        ("file_bytes", _int),
        ("longest_path", _int),
        ("next", _ptr),
        ("name", ctypes.c_char_p),
        ("app_data", _ptr),
        ("open", _ptr),
        ("delete", _ptr),
        ("access", _ptr),
        ("rest", _ptr * 14),
    )


@dataclass(eq=False, slots=True)
class OpenFile:
    """A file that SQLite has open, and what the disk itself does with it."""

    path: str
    handle: int
    read: Callable[[Any, int, int], int] = field(repr=False)  # buffer or its address, bytes, place
    write: Callable[[Any, int, int], int] = field(repr=False)
    truncate: Callable[[int], int] = field(repr=False)
    sync: Callable[[], int] = field(repr=False)
    size: Callable[[], int] = field(repr=False)


class Between(Protocol):
    """What decides. Each call gives SQLite's answer: it does the real thing, or refuses it.

    Calls come from any thread. Reads and writes are at `place`, counted from 0.
    """

    def opens(self, path: str, flags: int) -> int | None:
        """The flags to open with; None: it cannot be opened."""

    def opened(self, file: OpenFile) -> None: ...

    def closing(self, file: OpenFile) -> None: ...

    def read(self, file: OpenFile, buffer: int, count: int, place: int) -> int: ...

    def write(self, file: OpenFile, buffer: int, count: int, place: int) -> int: ...

    def truncate(self, file: OpenFile, size: int) -> int: ...

    def sync(self, file: OpenFile) -> int: ...

    def may_grow(self, file: OpenFile) -> bool:
        """Whether there is room for more shared memory, or for a file that is told to grow."""

    def may_delete(self, path: str) -> bool: ...

    def may_write(self, path: str) -> bool: ...


_numbers = itertools.count(1)
_kept: list[Any] = []  # SQLite may call a table as long as a connection lives


@contextlib.contextmanager
def between(folder: Path, watch: Between) -> Iterator[None]:
    """Whatever SQLite opens in `folder` from now on is asked of `watch`, in every thread of this process."""
    sqlite = ctypes.CDLL(_sqlite3.__file__)  # and what it is linked to
    sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    sqlite.sqlite3_vfs_find.argtypes = (ctypes.c_char_p,)
    sqlite.sqlite3_vfs_register.argtypes = (ctypes.POINTER(_Vfs), _int)
    sqlite.sqlite3_vfs_unregister.argtypes = (ctypes.POINTER(_Vfs),)
    made = _Tables(sqlite.sqlite3_vfs_find(None).contents, f"{folder.resolve()}/", watch)
    _kept.append(made)
    if sqlite.sqlite3_vfs_register(ctypes.byref(made.vfs), 1) != OK:
        raise OSError("SQLite takes no other way to its files")
    try:
        yield
    finally:
        sqlite.sqlite3_vfs_unregister(ctypes.byref(made.vfs))


class _Tables:
    """Our copy of the default VFS, and of the table of each kind of file."""

    def __init__(self, real: _Vfs, folder: str, watch: Between) -> None:
        self._folder, self._watch = folder, watch
        self._files: dict[int, OpenFile] = {}
        self._methods: dict[int, tuple[_Methods, _Methods, list[Any]]] = {}  # by address of the real one
        self.vfs = _Vfs()
        ctypes.pointer(self.vfs)[0] = real
        self._real_open, self._real_delete = _OPEN(real.open), _DELETE(real.delete)
        self._real_access = _ACCESS(real.access)
        self._hooks = [_OPEN(self._open), _DELETE(self._delete), _ACCESS(self._access)]
        self.vfs.name = f"gatehouse-lab-{next(_numbers)}".encode()
        self.vfs.open, self.vfs.delete, self.vfs.access = (ctypes.cast(f, _ptr) for f in self._hooks)

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._folder)

    def _open(self, vfs: int, name: int | None, handle: int, flags: int, out: Any) -> int:
        with _Answer(CANNOT_OPEN) as answer:
            path = "" if name is None else os.fsdecode(ctypes.string_at(name))
            if self._is_ours(path):
                allowed = self._watch.opens(path, flags)
                if allowed is None:
                    ctypes.cast(handle, ctypes.POINTER(_ptr))[0] = None  # then SQLite does not close it
                    return CANNOT_OPEN
                flags = allowed
            answer.code = self._real_open(vfs, name, handle, flags, out)
            if answer.code == OK and self._is_ours(path):
                self._take_over(path, handle)
        return answer.code

    def _take_over(self, path: str, handle: int) -> None:
        table = ctypes.cast(handle, ctypes.POINTER(_ptr))
        address = table[0]
        if address not in self._methods:
            self._methods[address] = self._copy(ctypes.cast(address, ctypes.POINTER(_Methods)).contents)
        real, ours, _ = self._methods[address]
        table[0] = ctypes.addressof(ours)
        self._files[handle] = file = _open_file(path, handle, real)
        self._watch.opened(file)

    def _copy(self, real: _Methods) -> tuple[_Methods, _Methods, list[Any]]:
        ours = _Methods()
        ctypes.pointer(ours)[0] = real
        real_close, real_control = _CLOSE(real.close), _CONTROL(real.control)
        files, watch = self._files, self._watch

        def close(handle: int) -> int:
            with _Answer(OK):
                watch.closing(files[handle])
            files.pop(handle, None)
            answer: int = real_close(handle)
            return answer

        def read(handle: int, buffer: int, count: int, place: int) -> int:
            with _Answer(IOERR_READ) as answer:
                answer.code = watch.read(files[handle], buffer, count, place)
            return answer.code

        def write(handle: int, buffer: int, count: int, place: int) -> int:
            with _Answer(IOERR_WRITE) as answer:
                answer.code = watch.write(files[handle], buffer, count, place)
            return answer.code

        def truncate(handle: int, size: int) -> int:
            with _Answer(IOERR_TRUNCATE) as answer:
                answer.code = watch.truncate(files[handle], size)
            return answer.code

        def sync(handle: int, _flags: int) -> int:
            with _Answer(IOERR_FSYNC) as answer:
                answer.code = watch.sync(files[handle])
            return answer.code

        def control(handle: int, what: int, argument: int) -> int:
            with _Answer(IOERR_WRITE) as answer:
                refused = what == _FCNTL_SIZE_HINT and not watch.may_grow(files[handle])
                answer.code = FULL if refused else real_control(handle, what, argument)
            return answer.code

        hooks: list[tuple[str, Any]] = [
            ("close", _CLOSE(close)),
            ("read", _READ(read)),
            ("write", _READ(write)),
            ("truncate", _TRUNCATE(truncate)),
            ("sync", _SYNC(sync)),
            ("control", _CONTROL(control)),
        ]
        if real.version >= 2 and real.shm_map:
            real_map = _SHM_MAP(real.shm_map)

            def shm_map(handle: int, page: int, size: int, extend: int, out: Any) -> int:
                with _Answer(IOERR_SHMSIZE) as answer:
                    answer.code = real_map(handle, page, size, 0, out)
                    if answer.code == OK and extend and not out[0]:
                        if not watch.may_grow(files[handle]):
                            return IOERR_SHMSIZE
                        answer.code = real_map(handle, page, size, extend, out)
                return answer.code

            hooks.append(("shm_map", _SHM_MAP(shm_map)))
        for name, hook in hooks:
            setattr(ours, name, ctypes.cast(hook, _ptr))
        return real, ours, hooks

    def _delete(self, vfs: int, name: bytes, sync_folder: int) -> int:
        with _Answer(IOERR_DELETE) as answer:
            path = os.fsdecode(name)
            refused = self._is_ours(path) and not self._watch.may_delete(path)
            answer.code = IOERR_DELETE if refused else self._real_delete(vfs, name, sync_folder)
        return answer.code

    def _access(self, vfs: int, name: bytes, what: int, out: Any) -> int:
        with _Answer(IOERR_READ) as answer:
            answer.code = self._real_access(vfs, name, what, out)
            path = os.fsdecode(name)
            if what == _ACCESS_READWRITE and self._is_ours(path):
                out[0] = int(bool(out[0]) and self._watch.may_write(path))
        return answer.code


def _open_file(path: str, handle: int, real: _Methods) -> OpenFile:
    read, write = _READ(real.read), _READ(real.write)
    truncate, sync, size = _TRUNCATE(real.truncate), _SYNC(real.sync), _SIZE(real.size)

    def how_large() -> int:
        found = _int64()
        size(handle, ctypes.byref(found))
        return found.value

    return OpenFile(
        path,
        handle,
        read=lambda buffer, count, place: read(handle, buffer, count, place),
        write=lambda buffer, count, place: write(handle, buffer, count, place),
        truncate=lambda to: truncate(handle, to),
        sync=lambda: sync(handle, 2),  # SQLITE_SYNC_NORMAL: what a full one is but on a Macintosh
        size=how_large,
    )


class _Answer:
    """What SQLite is told. A mistake of ours must not look like a success, which ctypes would make of it."""

    def __init__(self, when_we_fail: int) -> None:
        self.code = self._when_we_fail = when_we_fail

    def __enter__(self) -> "_Answer":
        return self

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> bool:
        if err is not None:
            self.code = self._when_we_fail
            traceback.print_exception(err)
        return err is not None
