"""The SQL on marks: small notes of drivers that are committed together with the items they are about.

What a mark says is encrypted, and cannot stand under another name. One that is damaged counts as not there:
who reads on from a wrong place would leave something out.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import aiosqlite

from edge_agent.buffer.blocks import ItemMalformed
from models.at_rest import AtRest, RowDamaged

_TABLE: Final = "mark"
_WRITE: Final = "INSERT OR REPLACE INTO mark (name, value) VALUES (?, ?)"
_REMOVE: Final = "DELETE FROM mark WHERE name = ?"
# As bytes, so that one broken text does not hide the others.
_READ: Final = "SELECT CAST(name AS BLOB), value FROM mark"


def checked(marks: Mapping[str, str]) -> dict[str, str]:
    """A copy. Raise ItemMalformed for what could not be stored, here and not for all that share a commit."""
    for text in (*marks, *marks.values()):
        if not isinstance(text, str) or not _is_utf8(text):
            raise ItemMalformed(f"a driver made a mark that cannot be stored: {text!r}")
    return dict(marks)


async def write_marks(connection: aiosqlite.Connection, marks: Mapping[str, str], at_rest: AtRest) -> None:
    """Store or replace each; an empty value removes it."""
    for name, value in marks.items():
        if value:
            sealed = at_rest.seal(value.encode(), table=_TABLE, name=name.encode())
            await connection.execute_insert(_WRITE, (name, sealed))
        else:
            await connection.execute_insert(_REMOVE, (name,))


async def read_marks(connection: aiosqlite.Connection, prefix: str, at_rest: AtRest) -> dict[str, str]:
    """Those whose name begins with `prefix`. All are looked at: there are a few for each device at most."""
    found = _sound(await connection.execute_fetchall(_READ), at_rest)
    return {name: value for name, value in found.items() if name.startswith(prefix)}


def salvaged_marks(path: Path, at_rest: AtRest) -> dict[str, str]:
    """What can still be read of the marks in a file that was set aside; the file is not changed."""
    rows: list[tuple[Any, ...]] = []
    has_log = path.with_name(path.name + "-wal").exists()
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"  # which makes no log either
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as damaged,
    ):
        rows.extend(damaged.execute(_READ))
    return _sound(rows, at_rest)


def _sound(rows: Iterable[Any], at_rest: AtRest) -> dict[str, str]:
    marks: dict[str, str] = {}
    for name, sealed in rows:
        with contextlib.suppress(RowDamaged):
            marks[name.decode()] = at_rest.open(sealed, table=_TABLE, name=name).decode()
    return marks


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
