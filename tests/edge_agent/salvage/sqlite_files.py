"""SQLite files for tests of salvage: made by SQLite, and explained by its own `dbstat`."""

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

STATEMENTS = """
CREATE TABLE numbered (id INTEGER PRIMARY KEY, label TEXT NOT NULL, data BLOB NOT NULL) STRICT;
CREATE INDEX numbered_label ON numbered (label, id);
CREATE TABLE named (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE loose (first, second REAL, third TEXT, fourth DEFAULT 'none');
CREATE TABLE keyed (key BLOB PRIMARY KEY, sent INTEGER NOT NULL, package BLOB NOT NULL) STRICT;
"""
TABLES = ("numbered", "named", "loose", "keyed")
ROWID_TABLES = ("numbered", "loose", "keyed")
DATA = "buffer.db"

Rows = dict[str, set[tuple[Any, ...]]]
"""Rows of each table, the rowid first; None where there is none."""


class Maker:
    """Fills a database by a seed, as rough users do."""

    def __init__(
        self, path: Path, seed: int, *, page_size: int, auto_vacuum: int, secure_delete: int
    ) -> None:
        self.path, self.rng = path, random.Random(seed)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA page_size = {page_size}")
        self.connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        self.connection.execute(f"PRAGMA secure_delete = {secure_delete}")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.executescript(f"BEGIN;{STATEMENTS}COMMIT")
        self.page_size = page_size

    def do(self, step: str) -> None:
        match step:
            case "insert" | "delete" | "update":
                getattr(self, step)()
            case "checkpoint":
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            case "truncate":
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            case "vacuum":
                self.connection.execute("VACUUM")

    def insert(self) -> None:
        rng, run = self.rng, self.connection.execute
        run("BEGIN")
        for _ in range(rng.randrange(1, 40)):
            run("INSERT INTO numbered (label, data) VALUES (?, ?)", (self._text(), self._blob()))
            run(
                "INSERT INTO loose (first, second, third) VALUES (?, ?, ?)",
                (rng.choice([None, 1, -(2**40), 2.5, "x"]), 3, self._text()),
            )
            if rng.random() < 0.5:
                value = rng.choice([0, 1, 2**62, -1, 1.5, self._text(), self._blob()])
                run("INSERT OR REPLACE INTO named VALUES (?, ?)", (self._text(20), value))
                run("INSERT OR REPLACE INTO keyed VALUES (?, ?, ?)", (rng.randbytes(16), 1, self._blob()))
        run("COMMIT")

    def delete(self) -> None:
        for table, key in (("numbered", "id"), ("loose", "rowid"), ("keyed", "rowid")):
            [(last,)] = self.connection.execute(f"SELECT coalesce(max({key}), 0) FROM {table}")  # noqa: S608  # our own text
            first = self.rng.randrange(last + 1)
            last = first + self.rng.randrange(30)
            sql = f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?"  # noqa: S608  # our own text
            self.connection.execute(sql, (first, last))
        self.connection.execute("DELETE FROM named WHERE unicode(name) % 3 = ?", (self.rng.randrange(3),))

    def update(self) -> None:
        part = self.rng.randrange(5)
        self.connection.execute("UPDATE numbered SET data = ? WHERE id % 5 = ?", (self._blob(), part))
        self.connection.execute(
            "UPDATE named SET value = ? WHERE length(value) % 5 = ?", (self._text(), part)
        )

    def _text(self, longest: int = 60) -> str:
        return "".join(self.rng.choices("abcdefghij电表 ", k=self.rng.randrange(1, longest)))

    def _blob(self) -> bytes:
        size = self.rng.choice([0, 1, 10, 100, self.page_size // 4, self.page_size, 3 * self.page_size])
        return self.rng.randbytes(self.rng.randrange(min(size, 9000) + 1))

    def copy(self, to: Path) -> Path:
        """File and log as they are now, with nobody who has them open."""
        to.mkdir(exist_ok=True)
        for side in ("", "-wal"):
            source, target = self.path.with_name(self.path.name + side), to / (DATA + side)
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        return to / DATA


@contextmanager
def made(folder: Path, seed: int, steps: list[str], **settings: Any) -> Iterator[Maker]:
    folder.mkdir()
    maker = Maker(folder / "made.db", seed, **settings)
    with closing(maker.connection):
        for step in steps:
            maker.do(step)
        yield maker


def rows_of(connection: sqlite3.Connection) -> Rows:
    """What SQLite says is in the tables."""
    found: Rows = {}
    for table in TABLES:
        key = "rowid" if table in ROWID_TABLES else "NULL"
        found[table] = set(connection.execute(f"SELECT {key}, * FROM {table}"))  # noqa: S608  # our own text
    return found


def pages_of_rows(
    connection: sqlite3.Connection, tables: Sequence[str] = ROWID_TABLES
) -> dict[str, dict[int, set[int]]]:
    """For each table with rowids the pages that hold the row: its leaf and its overflow pages."""
    found: dict[str, dict[int, set[int]]] = {}
    for table in tables:
        pages = connection.execute(
            "SELECT path, pagetype, pageno, ncell FROM dbstat WHERE name = ? ORDER BY path", (table,)
        ).fetchall()
        sql = f"SELECT rowid FROM {table} ORDER BY rowid"  # noqa: S608  # our own text
        rowids = iter(connection.execute(sql).fetchall())
        rows: dict[int, set[int]] = {}
        for path, kind, number, cells in pages:
            if kind != "leaf":
                continue
            for cell in range(cells):
                [rowid] = next(rowids)
                start = f"{path}{cell:03x}+"
                overflow = {page for other, _, page, _ in pages if other.startswith(start)}
                rows[rowid] = {number} | overflow
        assert next(rowids, None) is None
        found[table] = rows
    return found


def tree_pages(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Table or index, kind and number of each page of every tree."""
    return connection.execute("SELECT name, pagetype, pageno FROM dbstat").fetchall()
