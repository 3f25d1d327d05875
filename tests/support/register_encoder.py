"""Puts numbers into registers, written from the definitions of the formats, without `struct`."""

import math
from fractions import Fraction

WIDTHS = {
    "int16": 1, "uint16": 1, "bcd16": 1, "int32": 2, "uint32": 2, "float32": 2, "bcd32": 2,
    "int64": 4, "uint64": 4, "float64": 4, "bcd64": 4,
}  # fmt: skip
ORDERS = [
    (word_order, byte_order) for word_order in ("high_first", "low_first") for byte_order in ("big", "little")
]


def pattern(type_: str, value: float) -> int:
    """The bits of a number, as one integer."""
    bits = 16 * WIDTHS[type_]
    if type_.startswith("bcd"):
        return int(str(int(value)), 16)
    if type_.startswith("float"):
        return ieee754(value, *((8, 23) if bits == 32 else (11, 52)))
    return int(value) % (1 << bits)


def ieee754(value: float, exponent_bits: int, mantissa_bits: int) -> int:
    """The pattern of a float that the format can hold exactly, not a number or infinity included."""
    bias = (1 << (exponent_bits - 1)) - 1
    sign = int(math.copysign(1.0, value) < 0) << (exponent_bits + mantissa_bits)
    full = ((1 << exponent_bits) - 1) << mantissa_bits
    if math.isnan(value):
        return full | 1 << (mantissa_bits - 1)
    if math.isinf(value):
        return sign | full
    if value == 0:
        return sign
    exponent = math.frexp(abs(value))[1] - 1
    exponent = max(exponent, 1 - bias)  # below that the numbers are subnormal
    mantissa = Fraction(abs(value)) / Fraction(2) ** exponent * (1 << mantissa_bits)
    assert mantissa.denominator == 1, f"{value} does not fit"
    whole = mantissa.numerator
    stored = exponent + bias if whole >> mantissa_bits else 0
    return sign | stored << mantissa_bits | whole & ((1 << mantissa_bits) - 1)


def registers(bits: int, width: int, word_order: str, byte_order: str) -> bytes:
    """The pattern as it lies in `width` registers, in the order in which they are sent."""
    words = [bits >> (16 * index) & 0xFFFF for index in reversed(range(width))]  # high word first
    if word_order == "low_first":
        words.reverse()
    sent = b""
    for word in words:
        high, low = word >> 8, word & 0xFF
        sent += bytes([high, low] if byte_order == "big" else [low, high])
    return sent


def encoded(type_: str, value: float, word_order: str, byte_order: str) -> bytes:
    """A number as the bytes of a reply."""
    return registers(pattern(type_, value), WIDTHS[type_], word_order, byte_order)
