"""The SQL on marks: small notes of drivers that are committed together with the items they are about.

What a mark says is encrypted, and cannot stand under another name. One that is damaged counts as not there:
who reads on from a wrong place would leave something out.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Final

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
    rows = await connection.execute_fetchall(_READ)
    found = opened_marks(((name, value) for name, value in rows), at_rest)
    return {name: value for name, value in found.items() if name.startswith(prefix)}


def opened_marks(rows: Iterable[tuple[bytes, bytes]], at_rest: AtRest) -> dict[str, str]:
    """Those of rows of the table that are as they were written."""
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
