"""Gives the pages of a damaged file: each in its newest version, from the log or from the file itself."""

import contextlib
import os
import struct
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from edge_agent.salvage.log import Log, read_log
from edge_agent.salvage.pages import HEADER_BYTES, Cell, NotATreePage, page_of
from edge_agent.salvage.records import RecordMalformed

MAGIC: Final = b"SQLite format 3\x00"
PAGE_SIZES: Final = tuple(1 << bits for bits in range(9, 17))
_FRACTIONS: Final = b"\x40\x20\x20"  # never anything else
_ENCODINGS: Final = {1: "utf-8", 2: "utf-16-le", 3: "utf-16-be"}
_LEAST_USABLE: Final = 480  # bytes of a page, says the format
_SAMPLES: Final = 64  # pages that are looked at to find out the page size


class Source:
    """A database file and its log, both only read. Close it when done.

    What the header says is used as far as it can be; what it cannot say is found out from the pages.
    """

    def __init__(self, path: Path, *, with_last: bool = False) -> None:
        """Raise OSError when the file cannot be opened; a log that cannot counts as not there."""
        self._file: IO[bytes] = path.open("rb", buffering=0)
        self._log_file: IO[bytes] | None = None
        self.log = Log()
        try:
            self._bytes = os.fstat(self._file.fileno()).st_size
            self._page_size = _page_size_in(os.pread(self._file.fileno(), HEADER_BYTES, 0))
            log = self._open_log(path.with_name(path.name + "-wal"), with_last=with_last)
            self._page_size = log.page_size or self._page_size
        except BaseException:
            self.close()
            raise
        self.log = log
        newest = self.read(1) or b""
        self.header_is_sound = _page_size_in(newest) == self._page_size
        self._header = newest[:HEADER_BYTES] if self.header_is_sound else bytes(HEADER_BYTES)
        self._reserved = self._header[20] if self._is_reserved() else 0
        [in_header] = struct.unpack_from(">I", self._header, 28)
        self.named_page_count = log.page_count or in_header
        # The log's own count has a checksum; a changed bit of the header's must hide nothing.
        self.page_count = log.page_count or self._bytes // self._page_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def page_size(self) -> int:
        return self._page_size

    @property
    def usable(self) -> int:
        """Bytes of a page that SQLite uses."""
        return self._page_size - self._reserved

    @property
    def encoding(self) -> str:
        """Of all texts, as Python names it."""
        return _ENCODINGS.get(self._header[59], "utf-8")

    def free_pages(self) -> tuple[set[int], bool]:
        """The pages that belong to nothing, and whether these are all: the list of them may be broken."""
        free: set[int] = set()
        if not self.header_is_sound:
            return free, False
        trunk, count = struct.unpack_from(">2I", self._header, 32)
        while trunk:
            data = self.read(trunk) if 2 <= trunk <= self.page_count and trunk not in free else None
            if data is None:
                return free, False
            free.add(trunk)
            trunk, leaves = struct.unpack_from(">2I", data)
            if leaves > self.usable // 4 - 2:
                return free, False
            free.update(struct.unpack_from(f">{leaves}I", data, 8))
        return free, len(free) == count and all(2 <= page <= self.page_count for page in free)

    def read(self, number: int) -> bytes | None:
        """Page `number`; None when it is not there whole, or the disk does not give it."""
        if number in self.log.broken:
            return None
        offset = self.log.offsets.get(number)
        try:
            if offset is not None and self._log_file is not None:
                data = os.pread(self._log_file.fileno(), self._page_size, offset)
            else:
                data = os.pread(self._file.fileno(), self._page_size, (number - 1) * self._page_size)
        except OSError:
            return None
        return data if len(data) == self._page_size else None

    def payload(self, cell: Cell) -> tuple[bytes, list[int]]:
        """What a cell holds, with what of it is on overflow pages, and which these are.

        Raise RecordMalformed when the chain of these pages is broken.
        """
        if not cell.overflow and len(cell.local) == cell.size:
            return cell.local, []
        parts = [cell.local]
        pages: list[int] = []
        missing, number = cell.size - len(cell.local), cell.overflow
        room = self.usable - 4
        most = min(self.page_count, -(-missing // room))
        while missing > 0 and len(pages) < most and 2 <= number <= self.page_count:
            data = self.read(number)
            if data is None:
                break
            pages.append(number)
            parts.append(data[4 : 4 + min(missing, room)])
            missing -= room
            number = int.from_bytes(data[:4], "big")
        if missing > 0 or number:
            raise RecordMalformed("the chain of its overflow pages is broken")
        return b"".join(parts), pages

    def close(self) -> None:
        """Safe to call twice."""
        self._file.close()
        if self._log_file is not None:
            self._log_file.close()

    def _open_log(self, path: Path, *, with_last: bool) -> Log:
        log = Log()
        with contextlib.suppress(OSError):
            self._log_file = path.open("rb")
            log = read_log(self._log_file, self._page_size, with_last=with_last)
        if not log.page_size and not self._page_size:
            self._page_size = self._likely_page_size()
            with contextlib.suppress(OSError):
                if self._log_file is not None:
                    self._log_file.seek(0)
                    log = read_log(self._log_file, self._page_size, with_last=with_last)
        return log

    def _is_reserved(self) -> bool:
        """Whether something really uses the end of each page that the header sets aside for it."""
        if not self._header[20]:
            return False
        whole, part = (
            self._sound_pages(self._page_size),
            self._sound_pages(self._page_size - self._header[20]),
        )
        return part > whole

    def _sound_pages(self, usable: int) -> int:
        """How many of a few pages are pages of trees with `usable` bytes."""
        count = self._bytes // self._page_size
        found = 0
        for number in range(2, count + 1, max(1, count // _SAMPLES)):
            with contextlib.suppress(NotATreePage):
                found += page_of(self.read(number) or bytes(self._page_size), number, usable).sound
        return found

    def _likely_page_size(self) -> int:
        """With which most of the file reads as pages of trees."""
        found: Counter[int] = Counter()
        for size in PAGE_SIZES:
            self._page_size = size
            found[size] = size * self._sound_pages(size)
        return max(PAGE_SIZES, key=lambda size: found[size])


def _page_size_in(header: bytes) -> int:
    """What the header of a file names; 0 when it is none."""
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC) or header[21:24] != _FRACTIONS:
        return 0
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size in PAGE_SIZES and size - header[20] >= _LEAST_USABLE else 0
