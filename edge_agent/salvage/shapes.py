"""What rows of the tables look like, from the statements that made them."""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edge_agent.salvage.records import Value

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "INT": (int,),
    "INTEGER": (int,),
    "REAL": (int, float),  # SQLite stores 1.0 as 1
    "TEXT": (str,),
    "BLOB": (bytes,),
}
_ANY: Final = (int, float, str, bytes)


@dataclass(frozen=True, slots=True)
class Column:
    """`types` are those of Python that may come out of a record, besides None where that may be."""

    name: str
    types: tuple[type, ...]
    may_be_null: bool
    is_real: bool
    default: Value


@dataclass(frozen=True, slots=True)
class Shape:
    """A table or an index; of an index only where its pages are is of interest."""

    name: str
    root: int  # in a file that nothing but the statements was done to
    is_table: bool
    has_rowid: bool
    columns: tuple[Column, ...]
    stored_as: tuple[int, ...]  # column by its place in the record
    rowid_column: int | None  # which is another name of the rowid
    key: tuple[int, ...]  # the columns of the primary key

    @property
    def strictness(self) -> int:
        """How little fits it: of two tables that a row fits, it is rather of the stricter one."""
        return sum(4 - len(column.types) + (not column.may_be_null) for column in self.columns)

    def row(
        self, rowid: int | None, stored: Sequence[Value], *, is_cut: bool = False
    ) -> tuple[Value, ...] | None:
        """The columns as they were declared; None when the record cannot be one of this table.

        `is_cut`: `stored` are only the first, and so is what is returned.
        """
        if not self.columns or len(stored) > len(self.columns):
            return None
        if is_cut:
            count = len(stored)
            alias = self.rowid_column if self.rowid_column is not None and self.rowid_column < count else None
            first = replace(
                self, columns=self.columns[:count], stored_as=self.stored_as[:count], rowid_column=alias
            )
            return first.row(rowid, stored)
        row: list[Value] = [column.default for column in self.columns]
        for place, value in zip(self.stored_as, stored, strict=False):
            row[place] = value
        if self.rowid_column is not None:
            if row[self.rowid_column] is not None:
                return None
            row[self.rowid_column] = rowid
        for place, column in enumerate(self.columns):
            value = row[place]
            if value is None:
                if not column.may_be_null:
                    return None
            elif not isinstance(value, column.types):
                return None
            elif column.is_real and isinstance(value, int):
                row[place] = float(value)
        return tuple(row)


def shapes_of(statements: str, page_size: int) -> list[Shape]:
    """Tables and indexes that `statements` make, as SQLite understands them.

    Columns that are computed and not stored are not known here.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as sample:
        sample.execute(f"PRAGMA page_size = {page_size}")
        sample.executescript(statements)
        return [
            _table(sample, name, root) if kind == "table" else _index(name, root)
            for kind, name, root in sample.execute(
                "SELECT type, name, rootpage FROM sqlite_schema WHERE rootpage > 0"
            )
        ]


def schema_shape() -> Shape:
    """The table in which SQLite notes all others, on page 1."""
    texts = [Column(name, (str,), True, False, None) for name in ("type", "name", "tbl_name", "sql")]
    columns = (*texts[:3], Column("rootpage", (int,), True, False, None), texts[3])
    return Shape("sqlite_schema", 1, True, True, columns, tuple(range(5)), None, ())


def _index(name: str, root: int) -> Shape:
    return Shape(
        name, root, is_table=False, has_rowid=False, columns=(), stored_as=(), rowid_column=None, key=()
    )


def _table(sample: sqlite3.Connection, name: str, root: int) -> Shape:
    [(without_rowid, strict)] = sample.execute(
        "SELECT wr, strict FROM pragma_table_list WHERE name = ? AND schema = 'main'", (name,)
    )
    infos = sample.execute(
        'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?) ORDER BY cid', (name,)
    ).fetchall()
    key = sorted((pk, place) for place, (*_, pk) in enumerate(infos) if pk)
    stored_as = list(range(len(infos)))
    rowid_column = None
    if without_rowid:
        stored_as = [place for _, place in key]
        stored_as += [place for place in range(len(infos)) if place not in stored_as]
    elif len(key) == 1 and infos[key[0][1]][1].upper() == "INTEGER":
        rowid_column = key[0][1]
    columns = tuple(_column(sample, info, strict=bool(strict)) for info in infos)
    return Shape(
        name,
        root,
        True,
        not without_rowid,
        columns,
        tuple(stored_as),
        rowid_column,
        tuple(place for _, place in key),
    )


def _column(sample: sqlite3.Connection, info: tuple[Any, ...], *, strict: bool) -> Column:
    name, declared, not_null, default, _ = info
    types = _TYPES.get(declared.upper(), _ANY) if strict else _ANY
    is_real = any(word in declared.upper() for word in ("REAL", "FLOA", "DOUB"))
    [(value,)] = sample.execute(f"SELECT {default}" if default is not None else "SELECT NULL")  # ours
    return Column(name, types, not not_null, is_real, value)
