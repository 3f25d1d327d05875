"""What becomes of a file when the power fails: of what was never synced, only some has reached the disk."""

import ctypes
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from simulators.lab.vfs import OpenFile

SECTOR: Final = 512
"""What a disk writes whole or not at all."""


class Before:
    """What a file was when it was last synced, as far as it was written over."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sectors: dict[int, bytes] = {}

    def keep(self, file: OpenFile, place: int, count: int) -> None:
        for number in range(place // SECTOR, -(-(place + count) // SECTOR)):
            if number not in self._sectors and number * SECTOR < self._size:
                content = ctypes.create_string_buffer(SECTOR)
                file.read(content, SECTOR, number * SECTOR)  # what is behind the end reads as zeros
                self._sectors[number] = content.raw

    def bring_back(self, file: OpenFile | None, path: Path, chance: random.Random) -> None:
        """Some sectors as they were, the others as they are. Writes that made the file longer may be gone."""
        if not path.exists():
            return
        with _writing(file, path) as (write, truncate, size):
            for number, content in sorted(self._sectors.items()):
                if chance.random() < 0.5:
                    end = min(SECTOR, max(self._size, size) - number * SECTOR)
                    write(content[:end], number * SECTOR)
            if size > self._size:
                truncate(chance.choice([self._size, chance.randint(self._size, size)]))
            elif size < self._size:
                truncate(size)


@contextmanager
def _writing(
    file: OpenFile | None, path: Path
) -> Iterator[tuple[Callable[[bytes, int], object], Callable[[int], object], int]]:
    """Through SQLite's own handle where there is one: closing another would free the locks of the process."""
    if file is not None:
        yield lambda data, place: file.write(data, len(data), place), file.truncate, file.size()
        return
    number = os.open(path, os.O_RDWR)
    try:
        yield (
            lambda data, place: os.pwrite(number, data, place),
            lambda size: os.ftruncate(number, size),
            os.fstat(number).st_size,
        )
    finally:
        os.close(number)
