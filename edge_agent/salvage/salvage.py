"""Finds the rows of a damaged SQLite file: along its trees, and on pages that have lost their place in one.

SQLite itself is not asked: it stops at what is broken, and writes into what it opens.

What is a live row and what a deleted one that was left lying? A row counts when its page is reached from
the root of its table, within the keys that the way there allows. Where that way is broken, pages of the
right kind that no tree reaches and that are not on the list of free pages count too, for the keys that are
missing. When the list of free pages is itself not whole, such rows are `Via.DOUBTFUL`: they may have been
deleted before. Space inside a page that no cell has is never looked at.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edge_agent.salvage.found import Report, Row, Via
from edge_agent.salvage.keys import Table
from edge_agent.salvage.pages import INTERIOR, Cell, Kind, NotATreePage, Page, cell_of, page_of
from edge_agent.salvage.records import RecordMalformed, Value, signed, values_of
from edge_agent.salvage.shapes import schema_shape, shapes_of
from edge_agent.salvage.source import Source

LOWEST: Final = -(1 << 63) - 1
HIGHEST: Final = (1 << 63) - 1
PAGES_A_STEP: Final = 64  # that are looked at in search of rows, so that one step stays under about 1 ms

_UNKNOWN, _TREE, _OVERFLOW, _FREE = range(4)
_MOST_LEVELS: Final = 20  # of a tree, says SQLite
_MISFIT: Final[tuple[Value, ...]] = ()

IsWanted = Callable[[str, int | None], bool]
IsSound = Callable[[str, Sequence[Value]], bool]


@dataclass(frozen=True, slots=True)
class _Link:
    """A page, the keys that may be on it, and those that its parent may have: above `low`, up to `high`."""

    page: int
    low: int
    high: int
    parent: tuple[int, int]


class Salvage:
    """The rows of one file. Read the tables first, in any order, then `orphans`; or everything by `rows`.

    Each generator does a small piece of work for each list that it yields, which may be empty, so the caller
    can do something else in between. The file and its log are only read; who holds it must not write to it.
    """

    def __init__(
        self,
        path: Path,
        statements: str,
        *,
        is_sound: IsSound = lambda _table, _values: True,
        is_wanted: IsWanted = lambda _table, _rowid: True,
        heads: bool = False,
        with_last: bool = False,
    ) -> None:
        """`statements` made the tables. `is_sound` says of a row whether it is as it was written.

        Rows that are not wanted cost next to nothing. With `heads`, overflow pages are not read: a row that
        goes on there has only its first columns, as many as stand whole on its page.
        `with_last`: see `edge_agent.salvage.log.read_log`. Raise OSError when the file cannot be opened.
        """
        self._source = Source(path, with_last=with_last)
        self._is_sound, self._is_wanted, self._heads = is_sound, is_wanted, heads
        self._uses = bytearray(self._source.page_count + 1)
        self._suspects: set[int] = set()  # in a tree and on the list of free pages
        free, self._free_is_whole = self._source.free_pages()
        for page in free:
            if page < len(self._uses):
                self._uses[page] = _FREE
        self.report = Report(self._source.page_size, self._source.page_count)
        self.report.log_is_damaged = self._source.log.damaged
        self.report.broken_pages |= self._source.log.broken
        self._tables = {shape.name: Table(shape) for shape in shapes_of(statements, self._source.page_size)}
        self._strictest_first = sorted(
            (table for table in self._tables.values() if table.shape.is_table),
            key=lambda table: -table.shape.strictness,
        )
        self._roots = self._find_roots()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._source.close()

    def rows(self) -> Iterator[Row]:
        """Every row of every table."""
        for table in self._tables.values():
            if table.shape.is_table:
                for found in self.table(table.shape.name):
                    yield from found
        for found in self.orphans():
            yield from found

    def table(self, name: str) -> Iterator[list[Row]]:
        """What is reached from the root of a table, by the key; each table can be read once."""
        table = self._tables[name]
        table.is_read = True
        root, guess = self._roots.get(name), table.shape.root
        if root != guess:  # then it is not sure which it is
            table.holes.append((LOWEST, HIGHEST))
        if root is None or self._page(root, table) is None:
            if guess in self._roots.values() or not self._looks_like(table, guess):
                table.holes.append((LOWEST, HIGHEST))
                return
            root = guess
        yield from self._tree(table, root)

    def orphans(self) -> Iterator[list[Row]]:
        """What is on pages that no tree reaches, for tables that miss some."""
        for table in self._tables.values():
            if not table.is_read:
                yield from ([] for _ in self.table(table.shape.name))
        missing = [table for table in self._strictest_first if table.holes]
        if not missing:
            return
        free_is_whole = self._free_is_whole and not self._suspects
        found: list[Row] = []
        for looked_at, number in enumerate(self._newest_first(), start=1):
            if self._uses[number] == _UNKNOWN or number in self._suspects:
                is_sure = free_is_whole and number <= self._source.named_page_count
                found += self._orphans_on(number, missing, Via.ORPHAN if is_sure else Via.DOUBTFUL)
            if looked_at % PAGES_A_STEP == 0 or found:
                yield found
                found = []

    def is_whole(self, name: str) -> bool:
        """Whether nothing of a table that was read is broken or missing, as far as can be seen."""
        table = self._tables[name]
        return table.is_read and not table.holes and not self.report.broken[name]

    def lost(self, name: str) -> list[tuple[int, int]]:
        """Which rowids of a table may be lost: above the one number, up to the other, in any order."""
        table = self._tables[name]
        return [*table.holes, *table.broken]

    def _newest_first(self) -> Iterator[int]:
        in_log = sorted(
            number for number in self._source.log.offsets if 2 <= number <= self._source.page_count
        )
        yield from in_log
        yield from (n for n in range(2, self._source.page_count + 1) if n not in self._source.log.offsets)

    def _find_roots(self) -> dict[str, int]:
        """What the file itself says of where its tables begin."""
        schema = Table(schema_shape())
        roots: dict[str, int] = {}
        for rows in self._tree(schema, 1):
            for row in rows:
                name, root = row.values[1], row.values[3]
                if isinstance(name, str) and isinstance(root, int) and name in self._tables:
                    roots[name] = root
        doubled = {root for root, count in Counter(roots.values()).items() if count > 1}
        return {name: root for name, root in roots.items() if root not in doubled}

    def _looks_like(self, table: Table, number: int) -> bool:
        """Whether the first rows under that page are rather of this table than of another."""
        for _ in range(_MOST_LEVELS):
            page = self._page(number, table)
            if page is None:
                return False
            cells = self._cells(page)
            if page.kind not in INTERIOR or not cells:
                break
            number = cells[0].child
        if not table.shape.columns:
            return True
        fitting = [sum(bool(self._row(other, cell)) for cell in cells) for other in self._strictest_first]
        return self._strictest_first[fitting.index(max(fitting))] is table

    def _page(self, number: int, table: Table) -> Page | None:
        """A page of that table's kind that nothing else has."""
        if not 1 <= number <= self._source.page_count or self._uses[number] == _TREE:
            return None
        data = self._source.read(number)
        if data is None:
            self.report.broken_pages.add(number)
            return None
        try:
            page = page_of(data, number, self._source.usable)
        except NotATreePage:
            return None
        return page if page.kind in table.kinds else None

    def _tree(self, table: Table, root: int) -> Iterator[list[Row]]:
        everything = LOWEST, HIGHEST
        links = [_Link(root, *everything, everything)]
        while links:
            link = links.pop()
            page = self._page(link.page, table)
            found: list[Row] | None = None
            if page is not None and self._uses[link.page] == _FREE:
                self._suspects.add(link.page)
            elif page is not None and page.kind is Kind.INTERIOR_TABLE:
                children = self._children(page, link)
                if children is not None:
                    links += children[::-1]
                    found = []
            elif page is not None and page.kind is Kind.LEAF_TABLE:
                found = self._leaf(table, page, link, root)
            elif page is not None:
                links += [_Link(child, *everything, everything) for child in self._index_children(page)]
                found = self._keyed(table, page, link.page, Via.TREE)
            if found is None or page is None:
                self.report.broken_pages.add(link.page)
                table.holes.append(link.parent)
                yield []
                continue
            self._uses[link.page] = _TREE
            if not page.sound:
                self.report.broken_pages.add(link.page)
                table.holes.append((link.low, link.high))
            yield found

    def _children(self, page: Page, link: _Link) -> list[_Link] | None:
        """Where an inner page of a table leads to; None when its keys do not belong there."""
        children: list[_Link] = []
        low = link.low
        cells = self._cells(page)
        for cell in cells:
            key = signed(cell.key)
            if not low < key <= link.high:
                return None
            children.append(_Link(cell.child, low, key, (link.low, link.high)))
            low = key
        children.append(_Link(page.right, low, link.high, (link.low, link.high)))
        return children

    def _index_children(self, page: Page) -> list[int]:
        if page.kind not in INTERIOR:
            return []
        return [*(cell.child for cell in self._cells(page)), page.right][::-1]

    def _leaf(self, table: Table, page: Page, link: _Link, root: int) -> list[Row] | None:
        """The rows on a leaf; None when it does not belong there."""
        cells = self._cells(page)
        keys = [signed(cell.key) for cell in cells]
        ascending = all(
            low < high for low, high in zip([link.low, *keys], [*keys, link.high + 1], strict=True)
        )
        if not ascending and page.sound:
            return None
        via = Via.TREE if page.sound else Via.BROKEN_PAGE
        found: list[Row] = []
        misfits, low = 0, link.low
        for cell, key in zip(cells, keys, strict=True):
            if low < key <= link.high:
                low = key
                if not self._is_wanted(table.shape.name, key):
                    continue
                values = self._row(table, cell)
                misfits += values == _MISFIT
                if not self._take(table, Row(table.shape.name, key, values or (), link.page, via), found):
                    table.broken.append((key - 1, key))
        if misfits == len(cells) and (cells or link.page != root):  # only of an empty table is a leaf empty
            return None
        if found:
            table.note_range(found[0].rowid or 0, found[-1].rowid or 0)
        return found

    def _keyed(self, table: Table, page: Page, number: int, via: Via) -> list[Row]:
        """The rows on a page of a table WITHOUT ROWID; of an index none."""
        found: list[Row] = []
        if table.shape.columns:
            for cell in self._cells(page):
                self._take(
                    table, Row(table.shape.name, None, self._row(table, cell) or (), number, via), found
                )
        return found

    def _orphans_on(self, number: int, missing: Sequence[Table], via: Via) -> list[Row]:
        """The rows of a page that no tree reaches, as rows of the table that most of them fit."""
        most: list[Row] = []
        for table in missing:
            page = self._page(number, table)
            if page is None or (page.kind in INTERIOR and table.shape.has_rowid):
                continue
            found: list[Row] = []
            for cell in self._cells(page):
                rowid = signed(cell.key) if table.shape.has_rowid else None
                if not self._is_wanted(table.shape.name, rowid):
                    continue
                values = self._row(table, cell) or ()
                row = Row(table.shape.name, rowid, values, number, via if page.sound else Via.DOUBTFUL)
                if self._is_row(row) and table.misses(row):
                    found.append(row)
            most = max(most, found, key=len)
        if most:
            self._uses[number] = _TREE
            table = self._tables[most[0].table]
            table.seen.update(table.mark_of(row) for row in most)
            self.report.rows[table.shape.name] += len(most)
        return most

    def _cells(self, page: Page) -> list[Cell]:
        """Those of a page that can be read."""
        cells: list[Cell] = []
        for at in page.cells:
            with contextlib.suppress(RecordMalformed):
                cells.append(cell_of(page, at))
        return cells

    def _row(self, table: Table, cell: Cell) -> tuple[Value, ...] | None:
        """The values of a row; `_MISFIT` for one of another table, None when its bytes are broken."""
        is_cut = self._heads and cell.size > len(cell.local)
        try:
            payload, pages = (cell.local, []) if is_cut else self._source.payload(cell)
            stored = values_of(payload, self._source.encoding, is_cut=is_cut)
        except RecordMalformed:
            return None
        values = table.shape.row(signed(cell.key), stored, is_cut=is_cut and table.shape.has_rowid)
        if values is None:
            return _MISFIT
        for page in pages:
            if self._uses[page] == _UNKNOWN:
                self._uses[page] = _OVERFLOW
        return values

    def _is_row(self, row: Row) -> bool:
        return bool(row.values) and self._is_sound(row.table, row.values)

    def _take(self, table: Table, row: Row, found: list[Row]) -> bool:
        """Whether it is a row."""
        if not self._is_row(row):
            self.report.broken[row.table] += 1
            return False
        if not table.shape.has_rowid:
            mark = table.mark_of(row)
            if mark in table.seen:
                return True
            table.seen.add(mark)
        self.report.rows[row.table] += 1
        found.append(row)
        return True
