"""A disk that fails: slow, full, read-only, with errors, with half-written blocks, or without power.

It fails the files that SQLite keeps in one folder, in this process, and nothing else. Needs no rights and no
change in the program under test. What is wrong can be changed at any moment, from outside by a small file.
`simulators.lab.run` starts a program on such a disk.
"""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from models.errors import BadInput
from simulators.lab import vfs
from simulators.lab.power import Before
from simulators.lab.vfs import OpenFile

Full = Literal["", "growing", "everything"]


class Trouble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a disk. Without arguments: nothing.

    Probabilities are for each call. `full`: a disk without room refuses what makes files grow; a file system
    that copies on writing refuses every write. `short` writes only the beginning, and then fails.
    """

    sync_ms: tuple[float, float] = (0, 0)  # each fsync takes so much longer, evenly spread
    full: Full = ""
    read_only: bool = False  # as after a remount: EROFS
    write_error: float = 0.0  # EIO
    read_error: float = 0.0
    sync_error: float = 0.0
    short: float = 0.0


NO_TROUBLE: Final = Trouble()


class ControlMistake(BadInput):
    """A control file that says nothing that a disk could do."""


def set_trouble(control: Path, trouble: Trouble) -> None:
    """Let the disk of the process that watches `control` be in this trouble from its next call on."""
    new = control.with_name(control.name + ".new")
    new.write_bytes(msgspec.json.encode(trouble))
    new.rename(control)


class Disk:
    """Decides for SQLite's calls, see `vfs.Between`. `trouble` may be changed at any time, by any thread."""

    def __init__(
        self,
        *,
        seed: int = 0,
        control: Path | None = None,
        loses_power: bool = False,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        """`loses_power`: keep what was there before each write until it is synced, for `cut_power`.

        `pause` lets the time of a slow fsync pass, where that is not real; nothing is then really synced.
        """
        self.trouble = NO_TROUBLE
        self.calls = self.refused = self.syncs = 0
        self._chance = random.Random(seed)
        self._control, self._stamp = control, (0, 0)
        self._loses_power, self._pause = loses_power, pause
        self._before: dict[str, Before] = {}
        self._files: set[OpenFile] = set()
        self._dead: set[OpenFile] = set()
        self._dies_after: int | None = None
        self._on_death: Callable[[], None] = lambda: None
        self._lock = threading.RLock()

    def reseed(self, seed: int) -> None:
        """Begin its chance anew."""
        self._chance.seed(seed)

    def die_after(self, calls: int, then: Callable[[], None] = lambda: None) -> None:
        """After so many more calls nothing that is open now reaches the disk, as if the process was killed.

        `then` is called in the thread of that call.
        """
        with self._lock:
            self._dies_after, self._on_death = self.calls + calls, then

    def die(self) -> None:
        """Now. Files that are opened from now on work."""
        with self._lock:
            self._dies_after = None
            self._dead |= self._files

    def cut_power(self) -> None:
        """`die`, and of what was never synced only some sectors are there, chosen by seed."""
        with self._lock:
            self.die()
            for path, before in sorted(self._before.items()):
                handles = [file for file in self._files if file.path == path]
                before.bring_back(handles[0] if handles else None, Path(path), self._chance)
            self._before.clear()

    # What SQLite asks.

    def opens(self, path: str, flags: int) -> int | None:
        with self._lock:
            trouble = self._look()
            if trouble.read_only:
                if not Path(path).exists():
                    self.refused += 1
                    return None
                return flags & ~(vfs.OPEN_READWRITE | vfs.OPEN_CREATE) | vfs.OPEN_READONLY
            if trouble.full == "everything" and not Path(path).exists():
                self.refused += 1
                return None
            return flags

    def opened(self, file: OpenFile) -> None:
        with self._lock:
            self._files.add(file)

    def closing(self, file: OpenFile) -> None:
        with self._lock:
            self._files.discard(file)
            self._dead.discard(file)

    def read(self, file: OpenFile, buffer: int, count: int, place: int) -> int:
        with self._lock:
            trouble = self._look()
            if self._is_dead(file) or self._strikes(trouble.read_error):
                return self._refuse(vfs.IOERR_READ)
        return file.read(buffer, count, place)

    def write(self, file: OpenFile, buffer: int, count: int, place: int) -> int:
        with self._lock:
            trouble = self._look()
            if self._is_dead(file) or trouble.read_only or self._strikes(trouble.write_error):
                return self._refuse(vfs.IOERR_WRITE)
            grows = place + count > file.size()
            if trouble.full == "everything" or (trouble.full == "growing" and grows):
                return self._refuse(vfs.FULL)
            if self._loses_power:
                self._remember(file, place, count)
            if self._strikes(trouble.short) and count > 1:
                file.write(buffer, self._chance.randrange(1, count), place)
                return self._refuse(vfs.FULL)
            return file.write(buffer, count, place)

    def truncate(self, file: OpenFile, size: int) -> int:
        with self._lock:
            trouble = self._look()
            if self._is_dead(file) or trouble.read_only or self._strikes(trouble.write_error):
                return self._refuse(vfs.IOERR_TRUNCATE)
            if self._loses_power:
                self._remember(file, size, max(0, file.size() - size))
            return file.truncate(size)

    def sync(self, file: OpenFile) -> int:
        with self._lock:
            trouble = self._look()
            pause_s = self._chance.uniform(*trouble.sync_ms) / 1000
        if pause_s:
            (self._pause or time.sleep)(pause_s)
        with self._lock:
            if self._is_dead(file) or trouble.read_only or self._strikes(trouble.sync_error):
                return self._refuse(vfs.IOERR_FSYNC)
            self.syncs += 1
            before = self._before.pop(file.path, None) if self._loses_power else None
        answer = vfs.OK if self._pause else file.sync()
        if answer != vfs.OK and before is not None:
            self._before.setdefault(file.path, before)
        return answer

    def may_grow(self, file: OpenFile) -> bool:
        with self._lock:
            return not (self._look().full or self._is_dead(file))

    def may_delete(self, path: str) -> bool:
        with self._lock:
            return not (self._look().read_only or any(file.path in path for file in self._dead))

    def may_write(self, path: str) -> bool:
        with self._lock:
            return not self._look().read_only

    # All that follows runs with the lock held.

    def _look(self) -> Trouble:
        """What is wrong at this call."""
        self.calls += 1
        if self._dies_after is not None and self.calls > self._dies_after:
            self.die()
            self._on_death()
        if self._control is not None:
            try:
                status = self._control.stat()
            except FileNotFoundError:
                return self.trouble
            if (stamp := (status.st_mtime_ns, status.st_ino)) != self._stamp:
                self._stamp = stamp
                self.trouble = _read_control(self._control)
        return self.trouble

    def _is_dead(self, file: OpenFile) -> bool:
        return file in self._dead

    def _strikes(self, probability: float) -> bool:
        return probability > 0 and self._chance.random() < probability

    def _refuse(self, answer: int) -> int:
        self.refused += 1
        return answer

    def _remember(self, file: OpenFile, place: int, count: int) -> None:
        before = self._before.get(file.path)
        if before is None:
            before = self._before[file.path] = Before(file.size())
        before.keep(file, place, count)


def _read_control(control: Path) -> Trouble:
    try:
        return msgspec.json.decode(control.read_bytes(), type=Trouble)
    except msgspec.MsgspecError as err:
        known = ", ".join(Trouble.__struct_fields__)
        raise ControlMistake(f"{control}: {err}; a disk knows {known}") from err
