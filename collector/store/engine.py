"""Opens the collector's database, and hands out its connections: many that read, one at a time that writes.

SQLite has one writer. All writes of this process therefore wait for one lock, and take the database's own
write lock at their beginning (BEGIN IMMEDIATE), so that a command run beside the collector makes them wait
and not fail half-way.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from collector.store.migrations import HEAD
from models.errors import NeedsAHuman

T = TypeVar("T")

LOCK_WAIT_S = 30.0  # how long a write waits for another process, such as a command beside the collector
READERS = 8

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a receipt promises that the batch survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -32768",  # KiB: the inner pages of a year of readings
    "PRAGMA wal_autocheckpoint = 8000",  # pages, 32 MiB: a page changed often is copied back once
    "PRAGMA journal_size_limit = 67108864",
)


class StoreUnusable(NeedsAHuman):
    """The database is missing, of another version, or not a database of this program."""


class Store:
    """The database of one collector. Open it with `Store.open`; `close` it before the loop ends."""

    def __init__(self, path: Path, bulk: sqlite3.Connection) -> None:
        self.path = path
        self._lock = asyncio.Lock()
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", connections=1)
        self._readers = _engine(path, begin="BEGIN", connections=READERS, read_only=True)
        self._bulk = bulk
        self._bulk_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store bulk")

    @classmethod
    async def open(cls, path: Path) -> "Store":
        """Raise StoreUnusable when the database is not of exactly the version of this program."""
        return cls(path, await asyncio.to_thread(_connect, path))

    async def close(self) -> None:
        """Waits for the write that is running. Safe to call twice."""
        async with self._lock:
            await self._writer.dispose()
            await self._readers.dispose()
            await asyncio.to_thread(self._bulk_thread.shutdown)
            self._bulk.close()

    async def __aenter__(self) -> "Store":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database until it is given back, and cannot write."""
        async with self._readers.begin() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed when the block ends, rolled back when it raises or is cancelled."""
        async with self._lock, self._writer.begin() as connection:
            yield connection

    async def bulk(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one write transaction, whole, in the thread of a plain connection.

        For thousands of rows at once: no hop between threads for each statement. `work` must be quick
        (nobody else writes meanwhile) and must neither commit nor roll back. When the caller is cancelled
        the transaction is finished all the same.
        """
        async with self._lock:
            running = asyncio.get_running_loop().run_in_executor(self._bulk_thread, self._transact, work)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                while not running.done():  # the thread cannot be stopped, and the lock must outlive it
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([running])
                if not running.cancelled():
                    running.exception()  # the one who would have been told is gone
                raise

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._bulk.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._bulk)
            self._bulk.execute("COMMIT")
        except BaseException:
            if self._bulk.in_transaction:
                self._bulk.execute("ROLLBACK")
            raise
        return result


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreUnusable(f"{path}: no database; create it with `collector init`")
    # Opened here, used in the bulk thread, closed by `Store.close`: never by two at once.
    connection = sqlite3.connect(path, LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        _check_version(path, connection)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as err:
        raise StoreUnusable(f"{path}: not a database of a collector ({err})") from err
    found = str(row[0]) if row else "none"
    if found == HEAD:
        return
    if found < HEAD or found == "none":
        raise StoreUnusable(
            f"{path}: its tables are of version {found}, this program needs {HEAD}; "
            "stop the collector, copy the file, then run `collector init` to bring the tables up to date"
        )
    raise StoreUnusable(
        f"{path}: its tables are of version {found}, this program knows only {HEAD}; "
        "start the newer program that wrote it, or restore a backup of the time before"
    )


def _engine(path: Path, *, begin: str, connections: int, read_only: bool = False) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": LOCK_WAIT_S, "isolation_level": None},  # we say BEGIN ourselves
        pool_size=connections,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
