"""Decodes what a cell of a b-tree holds: numbers of variable length, and records of values."""

import struct
from typing import Final

from models.errors import BadInput

Value = None | int | float | str | bytes
"""What a column can hold in SQLite."""

_INTEGER_BYTES: Final = (0, 1, 2, 3, 4, 6, 8)
_REAL, _ZERO, _ONE = 7, 8, 9
_FIRST_BLOB: Final = 12
_MAX_VARINT_BYTES: Final = 9


class RecordMalformed(BadInput):
    """The bytes are no record, or not in one piece."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, from 0 to 2**64 - 1, and where it ends. Raise RecordMalformed when `data` ends."""
    value = 0
    for position in range(at, min(at + _MAX_VARINT_BYTES, len(data))):
        byte = data[position]
        if position == at + _MAX_VARINT_BYTES - 1:
            return value << 8 | byte, position + 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + 1
    raise RecordMalformed("a number goes on behind the end")


def signed(value: int) -> int:
    """A varint as the 64-bit number that a rowid is."""
    return value - (1 << 64) if value >= 1 << 63 else value


def values_of(payload: bytes, encoding: str, *, is_cut: bool = False) -> list[Value]:
    """The columns of a record, as stored. Raise RecordMalformed unless every byte of it has its place.

    `is_cut`: only its beginning is there, so only the first columns.
    """
    header_end, at = varint(payload, 0)
    if header_end > len(payload):
        raise RecordMalformed("its header is longer than the record")
    values: list[Value] = []
    body = header_end
    while at < header_end:
        kind = payload[at]
        if kind < 0x80:
            at += 1
        else:
            kind, at = varint(payload, at)
        if kind >= _FIRST_BLOB:
            size = (kind - _FIRST_BLOB) >> 1
            if is_cut and body + size > len(payload):
                return values
            raw = payload[body : body + size]
            values.append(_text(raw, encoding) if kind & 1 else raw)
        elif kind < _REAL:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(payload[body : body + size], "big", signed=True) if kind else None)
        elif kind == _REAL:
            size = 8
            if body + size > len(payload):
                break
            values.append(struct.unpack_from(">d", payload, body)[0])
        elif kind in (_ZERO, _ONE):
            size = 0
            values.append(kind - _ZERO)
        else:
            raise RecordMalformed(f"no value has the type {kind}")
        body += size
    if at != header_end or body != len(payload):
        raise RecordMalformed("its header does not fit its length")
    return values


def _text(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as err:
        raise RecordMalformed("a text of it is no text") from err
