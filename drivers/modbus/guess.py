"""Reads unknown registers in every way that gives a sensible number, for a person to choose from."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from drivers.modbus.decode import raw_value
from models.profile.modbus import ByteOrder, RegisterType, WordOrder

TYPES: dict[int, tuple[RegisterType, ...]] = {
    1: ("uint16", "int16", "bcd16"),
    2: ("float32", "uint32", "int32", "bcd32"),
    4: ("float64", "uint64", "int64", "bcd64"),
}
SMALLEST, LARGEST = 1e-6, 1e12
"""Floats outside, other than 0, are what other data looks like when it is read as a float."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One way to read the registers. Of ways that give the same number, only the first is listed."""

    type: RegisterType
    word_order: WordOrder
    byte_order: ByteOrder
    value: int | float


def plausible_decodings(words: Sequence[int]) -> list[Decoding]:
    """What 1, 2 or 4 registers may mean, likeliest first; nothing for another number of registers."""
    data = struct.pack(f">{len(words)}H", *words)
    found: dict[tuple[str, int | float], Decoding] = {}
    orders: tuple[tuple[WordOrder, ByteOrder], ...] = tuple(
        product(("high_first", "low_first"), ("big", "little"))
    )
    for type_ in TYPES.get(len(words), ()):
        for word_order, byte_order in orders:
            value = raw_value(data, type_, word_order, byte_order)
            if value is not None and _is_sensible(value):
                kind = "number" if type_.startswith(("int", "uint")) else type_
                found.setdefault((kind, value), Decoding(type_, word_order, byte_order, value))
    return list(found.values())


def _is_sensible(value: int | float) -> bool:
    return isinstance(value, int) or value == 0 or SMALLEST <= abs(value) <= LARGEST
