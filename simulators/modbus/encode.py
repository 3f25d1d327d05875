"""Values to registers: every type, word order and byte order that a profile can name.

Written from the definitions of the types, not from any decoder: a mistake made twice would hide itself.
"""

import math
import struct
from decimal import Decimal

WORDS = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "bcd16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "bcd32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
    "bcd64": 4,
}
"""How many registers a value of each type takes."""

_FLOATS = {"float32": struct.Struct(">f"), "float64": struct.Struct(">d")}
_LARGEST_FLOAT32 = (2.0 - 2.0**-23) * 2.0**127


def fits(raw: float, kind: str) -> int | float:
    """The nearest number that the type can hold: a meter at its end stop shows its end stop.

    A float32 comes back as the float that its 32 bits mean.
    """
    if kind == "float64":
        return float(raw)
    if kind == "float32":
        form = _FLOATS[kind]
        try:
            return float(form.unpack(form.pack(raw))[0])
        except OverflowError:
            return math.copysign(_LARGEST_FLOAT32, raw)
    low, high = limits(kind)
    return max(low, min(high, round(raw)))


def limits(kind: str) -> tuple[int, int]:
    """The smallest and the largest raw number of a type that is not a float."""
    bits = 16 * WORDS[kind]
    if kind == "bool":
        return 0, 1
    if kind.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    if kind.startswith("uint"):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def registers(raw: float, kind: str, *, word_order: str = "high_first", byte_order: str = "big") -> bytes:
    """The value as it stands in consecutive registers, as bytes in the order of the wire."""
    return _ordered(_plain(fits(raw, kind), kind), word_order, byte_order)


def number(content: bytes, kind: str, *, word_order: str = "high_first", byte_order: str = "big") -> float:
    """The raw number that registers hold, for points that lie over the registers of others."""
    plain = _ordered(content, word_order, byte_order)  # putting in order twice gives the first order
    if kind in _FLOATS:
        return float(_FLOATS[kind].unpack(plain)[0])
    if kind.startswith("bcd"):
        return int(plain.hex())
    return int.from_bytes(plain, "big", signed=kind.startswith("int"))


def shown(raw: float, *, scale: float, ratio: float, offset: float, decimals: int) -> float:
    """The value that an ideal reader takes from a raw number: exact arithmetic, rounded once at the end.

    `ratio` is the product of the transformer ratios that the point is multiplied by.
    """
    if scale == 1 and ratio == 1 and offset == 0:
        return round(float(raw), decimals)
    exact = Decimal(raw) * Decimal(repr(scale)) * Decimal(repr(ratio)) + Decimal(repr(offset))
    return float(round(exact, decimals))


def _ordered(content: bytes, word_order: str, byte_order: str) -> bytes:
    if word_order == "low_first":
        content = b"".join(content[at : at + 2] for at in range(len(content) - 2, -1, -2))
    if byte_order == "little":
        content = b"".join(
            content[at + 1 : at + 2] + content[at : at + 1] for at in range(0, len(content), 2)
        )
    return content


def _plain(held: int | float, kind: str) -> bytes:
    """Most significant byte first, most significant word first."""
    if kind in _FLOATS:
        return _FLOATS[kind].pack(held)
    size = 2 * WORDS[kind]
    if kind.startswith("bcd"):
        return bytes.fromhex(f"{held:0{2 * size}d}")
    return int(held).to_bytes(size, "big", signed=kind.startswith("int"))
