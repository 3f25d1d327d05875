"""Opens the buffer's SQLite file, or sets a damaged one aside and begins a new one."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiosqlite

from edge_agent.buffer.aside import SetAside, set_aside
from edge_agent.buffer.contract import BufferUnavailable
from edge_agent.buffer.witness import Witness
from models.at_rest import AtRest, RowDamaged
from models.errors import NeedsAHuman

APPLICATION_ID: Final = 0x47484231  # "GHB1", so that a stray SQLite file is not taken for a buffer
SCHEMA_VERSION: Final = 1

CHECKED_AT_ONCE_BYTES: Final = 32 << 20
"""A larger file is checked by and by: SQLite's own check takes seconds for 512 MB."""

_WAL_KEPT_BYTES = 4 << 20  # the log goes back to this after a checkpoint
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWILLING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}

# A block is one group commit; what sequence numbers were given is known from `first_seq` and `count` alone.
# The blocks of a batch are deleted when every collector has their items, for its body has them. Wide columns
# come last, so that SQLite need not read past them.
SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE block (
    first_seq INTEGER PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count > 0),
    readings INTEGER NOT NULL,
    holes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    thinned INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX block_span ON block (first_seq, count, holes, readings, thinned);
CREATE TABLE collector (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    gateway_id TEXT NOT NULL,
    epoch BLOB NOT NULL,
    epoch_first INTEGER NOT NULL,
    produced_before INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    dropped INTEGER NOT NULL
) STRICT;
CREATE TABLE claimed (
    collector INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (collector, first_seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE content_key (
    collector INTEGER NOT NULL,
    key_id BLOB NOT NULL,
    sent INTEGER NOT NULL,
    package BLOB NOT NULL,
    PRIMARY KEY (collector, key_id)
) STRICT;
CREATE TABLE batch (
    collector INTEGER NOT NULL,
    number INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    items INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'withdrawn')),
    sealed_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    key_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    receipt TEXT,
    body BLOB NOT NULL,
    PRIMARY KEY (collector, number),
    FOREIGN KEY (collector, key_id) REFERENCES content_key (collector, key_id)
) STRICT;
CREATE INDEX batch_under_way ON batch (collector, number) WHERE state = 'pending';
CREATE INDEX batch_delivered ON batch (delivered_ms, collector, number) WHERE state <> 'pending';
CREATE INDEX batch_numbers ON batch (collector, first_seq);
CREATE TABLE refused (
    id INTEGER PRIMARY KEY,
    collector INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    place TEXT NOT NULL CHECK (place IN ('open', 'batch', 'gone')),
    refused_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    item BLOB NOT NULL
) STRICT;
CREATE TABLE mark (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE damaged (first_seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
"""
_BEGIN = "BEGIN IMMEDIATE;"
_NAMED = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
_SCHEMA_TEXT = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
_BYTES_USED = (
    "SELECT (pages.page_count - free.freelist_count) * size.page_size "
    "FROM pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size"
)
_SMALL_TABLES = ("meta", "collector", "claimed", "mark")
_OVERLAPS = """
SELECT count(*) FROM (SELECT first_seq, lag(first_seq + count) OVER (ORDER BY first_seq) AS free FROM block)
WHERE first_seq < free
"""


class BufferOfAnotherVersion(NeedsAHuman):
    """The file was written by a newer agent. It is left as it is."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path}: written by a newer edge-agent (format {version}, this one knows {SCHEMA_VERSION}); "
            "install that version again, or name another state_dir"
        )
        self.path, self.version = path, version


class BufferInUse(NeedsAHuman):
    """Another process has the buffer open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: another edge-agent is using it; stop that one first")
        self.path = path


class WrongKey(NeedsAHuman):
    """The file was encrypted with another key than the one that is given."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: was encrypted with another key; put back the key that it was made with (see "
            "gateway.at_rest_key_file), or name another state_dir. Nothing in it was changed"
        )
        self.path = path


class RowsBroken(sqlite3.DatabaseError):
    """SQLite gave rows that it never took: it reads what stands on a broken page without a look at types."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class _Damaged(Exception):
    """The file is not a sound database of ours."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of opening the file."""

    aside: SetAside | None  # what was there could not be used, and a new store begins
    is_copy: bool  # the file is another than the one that was last written: it was put back from a copy


class Database:
    """The file with its settings, and a lock beside it that keeps other processes out."""

    def __init__(self, path: Path, at_rest: AtRest, checked_at_once: int) -> None:
        """A file of up to `checked_at_once` bytes is checked to its end when it is opened."""
        self.path, self._checked_at_once = path, checked_at_once
        self._at_rest = at_rest
        self._lock: int | None = None
        self._suspicion, self._is_surely_broken = "", False
        self._connection: aiosqlite.Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise BufferUnavailable(f"{self.path}: is not open")
        return self._connection

    async def open(self, *, now_ms: int) -> Opened:
        """Open the file, or make it. One that is damaged or no buffer is renamed, never deleted.

        Raise NeedsAHuman when a person must decide, BufferUnavailable when the disk refuses.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # who is where, and when
            self._take_lock()
            self._make_file()
            aside = None
            try:
                if self._is_surely_broken:
                    raise _Damaged(self._suspicion)
                thorough = bool(self._suspicion) or self._bytes() <= self._checked_at_once
                self._connection = await _connect(self.path, self._at_rest, thorough=thorough)
            except _Damaged as err:
                aside = set_aside(self.path, str(err), now_ms)
                self._connection = await _connect(self.path, self._at_rest)
            self._suspicion, self._is_surely_broken = "", False
            return Opened(aside, await self._is_copy())
        except OSError as err:
            raise BufferUnavailable(
                f"{self.path}: {err.strerror}; check the disk and the rights of its folder"
            ) from err
        finally:
            if self._connection is None:
                self._free_lock()

    @property
    def witness(self) -> Witness:
        """In the file of the lock, which is there as long as the database is open."""
        if self._lock is None:
            raise BufferUnavailable(f"{self.path}: is not open")
        return Witness(self._lock)

    async def suspect(self, err: BaseException) -> None:
        """Close the file, for it may be broken: it is checked to its end when it is opened again."""
        self._suspicion = "" if not is_damage(err) else str(err) or type(err).__name__
        self._is_surely_broken = getattr(err, "sqlite_errorcode", 0) & 0xFF in _BROKEN
        await self.close()

    def _bytes(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    async def note_file(self, connection: aiosqlite.Connection) -> None:
        """Remember that it is this very file that is written from now on."""
        await connection.execute_insert(
            "INSERT OR REPLACE INTO meta VALUES ('file', ?)", (_inode(self.path),)
        )

    async def _is_copy(self) -> bool:
        noted = await self.connection.execute_fetchall("SELECT value FROM meta WHERE name = 'file'")
        return [number for (number,) in noted] != [_inode(self.path)]

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """All that is done inside happens, or nothing. Only one task may be in here at a time."""
        connection = self.connection
        try:
            await connection.execute_fetchall("BEGIN IMMEDIATE")
            yield connection
            await connection.execute_fetchall("COMMIT")
        except BaseException:
            if connection.in_transaction:
                await connection.rollback()
            raise

    async def close(self) -> None:
        """Safe to call twice."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                await connection.close()
        finally:
            self._free_lock()

    def _make_file(self) -> None:
        """For its owner alone to read, so that its log is as well. Raise OSError where SQLite could not."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise BufferInUse(self.path) from None
        self._lock = lock

    def _free_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def is_damage(err: BaseException) -> bool:
    """Whether the file may be broken, and not just the disk unwilling: then it must be checked anew.

    A UnicodeDecodeError is what Python makes of a message in which SQLite quotes a broken schema.
    """
    if isinstance(err, sqlite3.Error):
        return getattr(err, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _UNWILLING
    return isinstance(err, UnicodeDecodeError)


def disk_refused(path: Path, err: Exception) -> BufferUnavailable:
    """What SQLite said, with what a person can do."""
    full = getattr(err, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    hint = f"free space on the disk of {path.parent}" if full else f"check the disk of {path.parent}"
    return BufferUnavailable(f"{path}: {err}; {hint}")


async def bytes_used(connection: aiosqlite.Connection) -> int:
    """The size of the file without the pages that are free to be used again."""
    return await scalar(connection, _BYTES_USED)


async def scalar(connection: aiosqlite.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> int:
    """The one number that a query gives."""
    [(value,)] = await connection.execute_fetchall(sql, parameters)
    return int(value)


async def _connect(path: Path, at_rest: AtRest, *, thorough: bool = False) -> aiosqlite.Connection:
    connection: aiosqlite.Connection | None = None
    try:
        connection = await aiosqlite.connect(path, isolation_level=None)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "cache_size = -512",  # kB: blocks are written once and read once
            "busy_timeout = 5000",  # only a person with another SQLite tool can hold a lock
            f"journal_size_limit = {_WAL_KEPT_BYTES}",
        ):
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        await _check(connection, path, at_rest, thorough=thorough)
    except BaseException as err:
        if connection is not None:
            await connection.close()
        if is_damage(err):
            raise _Damaged(str(err)) from err
        if isinstance(err, sqlite3.Error):
            raise disk_refused(path, err) from err
        raise
    return connection


async def _check(connection: aiosqlite.Connection, path: Path, at_rest: AtRest, *, thorough: bool) -> None:
    """What takes no longer for a large file. `thorough`: all that SQLite can say, which takes seconds."""
    version = await scalar(connection, "PRAGMA user_version")
    if version == 0 and await scalar(connection, "SELECT count(*) FROM sqlite_schema") == 0:
        await connection.executescript(_BEGIN + SCHEMA + _NAMED)
        await connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("key", at_rest.fingerprint), ("version", SCHEMA_VERSION), ("file", _inode(path))],
        )
        await connection.execute_fetchall("COMMIT")
        return
    if await scalar(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise _Damaged("it is a database of another program")
    rows = await connection.execute_fetchall("SELECT name, value FROM meta")
    noted: dict[str, Any] = {name: value for name, value in rows}  # noqa: C416  # rows are no tuples to mypy
    if noted.get("version") != version:
        raise _Damaged("it contradicts itself about its format")
    if version > SCHEMA_VERSION:
        raise BufferOfAnotherVersion(path, version)
    if noted.get("key") != at_rest.fingerprint:
        if "key" not in noted or await _opens_something(connection, at_rest):
            raise _Damaged("what it says of its key is broken")
        raise WrongKey(path)
    if [sql for (sql,) in await connection.execute_fetchall(_SCHEMA_TEXT)] != _expected_schema():
        raise _Damaged("its tables are not those of a buffer")
    for table in _SMALL_TABLES if not thorough else ("",):
        found = [row[0] for row in await connection.execute_fetchall(f"PRAGMA integrity_check({table or 1})")]
        if found != ["ok"]:
            raise _Damaged(f"its integrity check failed: {found[0]}")
    if thorough and await scalar(connection, _OVERLAPS):
        raise _Damaged("two of its blocks hold the same sequence number")


async def _opens_something(connection: aiosqlite.Connection, at_rest: AtRest) -> bool:
    """Whether any of a few rows was encrypted with this key."""
    for first_seq, data in await connection.execute_fetchall("SELECT first_seq, data FROM block LIMIT 10"):
        with contextlib.suppress(RowDamaged):
            at_rest.open(data, table="block", name=first_seq)
            return True
    return False


def _inode(path: Path) -> int:
    """Another one for a file that was put back from a copy."""
    return path.stat().st_ino


def _expected_schema() -> list[str]:
    """What SQLite itself notes of our tables: one changed letter of it would fail much later."""
    with contextlib.closing(sqlite3.connect(":memory:")) as sample:
        sample.executescript(SCHEMA)
        return [sql for (sql,) in sample.execute(_SCHEMA_TEXT)]
