"""Finds the pages that a write-ahead log holds, and what of it is broken.

SQLite reads a log up to its first wrong checksum and takes the rest for a write that a loss of power cut
short. A log that was flipped or holed later holds more: each frame carries the checksum up to itself, from
which the next can be checked. Frames behind a broken one count when two commits follow it, for a second
transaction begins only after the first is safe; in the last one a broken frame may be just the cut one.
"""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final, Literal

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
_VERSION: Final = 3007000
_MASK: Final = 0xFFFFFFFF
_PAIRS_A_TURN: Final = (
    16  # after which the sums are cut to 32 bits; they stay below Python's next digit until then
)

Sums = tuple[int, int]
ByteOrder = Literal["<", ">"]


@dataclass(slots=True)
class Log:
    """`offsets`: where in the log the newest version of a page is; `broken`: pages without a sound one."""

    offsets: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    page_count: int = 0  # of the database after the last commit; 0: no commit
    page_size: int = 0  # 0: not known
    damaged: bool = False  # more than a write that was cut short


@dataclass(frozen=True, slots=True)
class _Frame:
    page: int
    page_count: int  # of the database, when this frame is a commit; else 0
    offset: int  # of the page in the log
    sound: bool


def read_log(file: IO[bytes], page_size: int, *, with_last: bool = False) -> Log:
    """What is committed in the log. `page_size` is used when the log's own header is broken; 0: not known.

    `with_last` also takes what is sound of a last transaction in which a frame is broken: for who knows
    that it was safe on the disk once.
    """
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return Log()
    order, own_size, sums = _header(header)
    log = Log(page_size=own_size)
    size = own_size or page_size
    if not size:
        return log
    salts = header[16:24] if own_size else _likely_salts(file, header, size)
    waiting: list[_Frame] = []
    commits_behind, is_broken = 0, sums is None
    for frame in _frames(file, size, order, salts, sums):
        waiting.append(frame)
        is_broken = is_broken or not frame.sound
        if not (frame.page_count and frame.sound):
            continue
        if is_broken:
            commits_behind += 1
            if commits_behind < 2 and not with_last:
                continue
            log.damaged = True
        _take(log, waiting, frame.page_count)
        waiting, commits_behind, is_broken = [], 0, False
    return log


def _take(log: Log, frames: list[_Frame], page_count: int) -> None:
    for frame in frames:
        if frame.sound:
            log.offsets[frame.page] = frame.offset
            log.broken.discard(frame.page)
        else:
            log.offsets.pop(frame.page, None)
            log.broken.add(frame.page)
    log.page_count = page_count


def _header(header: bytes) -> tuple[ByteOrder, int, Sums | None]:
    """Byte order of the checksums, page size and checksum so far; 0 and None when it is broken."""
    magic, version, page_size, first, second = struct.unpack(">3I12x2I", header)
    order: ByteOrder = ">" if _MAGIC.get(magic) == ">" else "<"
    if magic in _MAGIC and version == _VERSION and _add(header[:24], (0, 0), order) == (first, second):
        return order, page_size, (first, second)
    return order, 0, None


def _likely_salts(file: IO[bytes], header: bytes, size: int) -> bytes:
    """What most of header and first two frames name."""
    found = [header[16:24]]
    for number in range(2):
        file.seek(HEADER_BYTES + number * (FRAME_HEADER_BYTES + size) + 8)
        found.append(file.read(8))
    return Counter(found[::-1]).most_common(1)[0][0]


def _frames(
    file: IO[bytes], size: int, order: ByteOrder, salts: bytes, sums: Sums | None
) -> Iterator[_Frame]:
    """All frames of the present generation, which are those with its salts, sound or not."""
    length = os.fstat(file.fileno()).st_size
    strange = 0
    for at in range(HEADER_BYTES, length - size - FRAME_HEADER_BYTES + 1, FRAME_HEADER_BYTES + size):
        file.seek(at)
        frame = file.read(FRAME_HEADER_BYTES + size)
        page, page_count = struct.unpack_from(">2I", frame)
        stored: Sums = struct.unpack_from(">2I", frame, 16)
        if frame[8:16] == salts:
            data = frame[FRAME_HEADER_BYTES:]
            sound = (
                sums is not None and page > 0 and _add(data, _add(frame[:8], sums, order), order) == stored
            )
            yield from [_Frame(0, 0, 0, sound=False)] * strange
            yield _Frame(page, page_count, at + FRAME_HEADER_BYTES, sound)
            strange = 0
        else:  # of a generation before this one; or broken, if others of this one follow
            strange += 1
        sums = stored


def _add(data: bytes, sums: Sums, order: ByteOrder) -> Sums:
    """Go on with a checksum over `data`, of 8 bytes or a multiple."""
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    first, second = sums
    turn = 0
    for even, odd in zip(words, words, strict=True):
        first += even + second
        second += odd + first
        turn += 1
        if turn == _PAIRS_A_TURN:
            first &= _MASK
            second &= _MASK
            turn = 0
    return first & _MASK, second & _MASK
