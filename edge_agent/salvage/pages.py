"""Takes apart one page of a b-tree."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edge_agent.salvage.records import RecordMalformed, varint
from models.errors import BadInput

HEADER_BYTES: Final = 100  # of the file, at the start of page 1
_MIN_CELL_BYTES: Final = 4  # what a cell takes at least, so that it can become a free block


class Kind(IntEnum):
    """The first byte of a page."""

    INTERIOR_INDEX = 0x02
    INTERIOR_TABLE = 0x05
    LEAF_INDEX = 0x0A
    LEAF_TABLE = 0x0D


_KINDS: Final = {kind.value: kind for kind in Kind}
INTERIOR: Final = frozenset({Kind.INTERIOR_INDEX, Kind.INTERIOR_TABLE})


class NotATreePage(BadInput):
    """The bytes are no page of a b-tree."""


@dataclass(frozen=True, slots=True)
class Page:
    """`sound` means that every byte of the page has exactly one use, as SQLite leaves it."""

    kind: Kind
    data: bytes
    usable: int
    cells: list[int]  # where each begins, in the order of their keys
    right: int  # the child behind the last cell; 0 on a leaf
    sound: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A row or key, as far as it is on its page. What is missing of `size` follows on the page `overflow`."""

    child: int  # 0 on a leaf
    key: int  # rowid as a varint gives it; 0 in an index
    size: int
    local: bytes
    overflow: int


def page_of(data: bytes, number: int, usable: int) -> Page:
    """Page `number` of the file. Raise NotATreePage when its header cannot be that of one."""
    start = HEADER_BYTES if number == 1 else 0
    kind = _KINDS.get(data[start])
    if kind is None:
        raise NotATreePage(f"page {number} has no known type")
    inner = kind in INTERIOR
    header = start + (12 if inner else 8)
    count = int.from_bytes(data[start + 3 : start + 5], "big")
    table_end = header + 2 * count
    if table_end > usable:
        raise NotATreePage(f"page {number} has more cells than room")
    cells = [int.from_bytes(data[at : at + 2], "big") for at in range(header, table_end, 2)]
    right = int.from_bytes(data[start + 8 : start + 12], "big") if inner else 0
    content = int.from_bytes(data[start + 5 : start + 7], "big") or 65536
    page = Page(kind, data, usable, cells, right, sound=True)
    if table_end <= content <= usable and _is_accounted_for(page, start, content):
        return page
    return Page(kind, data, usable, [at for at in cells if table_end <= at < usable], right, sound=False)


def cell_of(page: Page, at: int) -> Cell:
    """The cell that begins at `at`. Raise RecordMalformed when it cannot be one."""
    data, child, key = page.data, 0, 0
    if page.kind in INTERIOR:
        child = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if page.kind is Kind.INTERIOR_TABLE:
            key, _ = varint(data, at)
            return Cell(child, key, 0, b"", 0)
    size, at = varint(data, at)
    if page.kind is Kind.LEAF_TABLE:
        key, at = varint(data, at)
    stored = local_bytes(size, page.usable, table=page.kind is Kind.LEAF_TABLE)
    end = at + stored
    overflow = 0
    if stored < size:
        overflow = int.from_bytes(data[end : end + 4], "big")
    if end + (4 if stored < size else 0) > page.usable:
        raise RecordMalformed("a cell goes on behind the end of its page")
    return Cell(child, key, size, data[at:end], overflow)


def local_bytes(size: int, usable: int, *, table: bool) -> int:
    """How much of a payload is in the cell; the rest is on overflow pages of `usable` - 4 bytes each."""
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (usable - 4)
    return fitting if fitting <= most else least


def _cell_bytes(page: Page, at: int) -> int:
    """How much of its page a cell takes."""
    data, begin = page.data, at
    if page.kind in INTERIOR:
        at += 4
        if page.kind is Kind.INTERIOR_TABLE:
            return max(varint(data, at)[1] - begin, _MIN_CELL_BYTES)
    size, at = varint(data, at)
    if page.kind is Kind.LEAF_TABLE:
        _, at = varint(data, at)
    stored = local_bytes(size, page.usable, table=page.kind is Kind.LEAF_TABLE)
    return max(at + stored + (4 if stored < size else 0) - begin, _MIN_CELL_BYTES)


def _is_accounted_for(page: Page, start: int, content: int) -> bool:
    """Whether cells, free blocks and fragments fill the page from `content` to its end, none over another."""
    data, usable = page.data, page.usable
    try:
        used = [(at, at + _cell_bytes(page, at)) for at in page.cells]
    except (RecordMalformed, IndexError):
        return False
    block = int.from_bytes(data[start + 1 : start + 3], "big")
    while block:
        if not content <= block <= usable - 4:
            return False
        following = int.from_bytes(data[block : block + 2], "big")
        size = int.from_bytes(data[block + 2 : block + 4], "big")
        if size < 4 or (following and following <= block):
            return False
        used.append((block, block + size))
        block = following
    fragments, end = data[start + 7], content
    for begin, after in sorted(used):
        if begin < end:
            return False
        fragments -= begin - end
        end = after
    return end <= usable and fragments == usable - end
