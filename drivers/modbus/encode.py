"""Turns a value into the registers that mean it: the exact inverse of `decode`, or nothing.

The raw number is worked out in fractions. A value that the registers cannot hold exactly, at the resolution
of its point, is refused; so what is written is what will be read.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import prod

from drivers.modbus.decode import CODES, decimal, in_order
from models.profile.modbus import ModbusPoint, ModbusSection


def raws(point: ModbusPoint, value: float, parameters: Mapping[str, float]) -> Iterator[float]:
    """The raw numbers that may mean `value`, nearest first. For a point that is no bit.

    A float that stands for a value has neighbours that may stand for it as well, once all is rounded.
    """
    multiplier = prod((decimal(parameters[name]) for name in point.multiply_by), start=Fraction(1))
    per_raw = decimal(point.scale) * multiplier
    exact = (_exactly(value) - decimal(point.offset)) / per_raw
    if point.type == "float64":
        near = _float(exact)
        yield from (near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf))
    elif point.type == "float32":
        [bits] = struct.unpack("=i", struct.pack("=f", _within(_float(exact), _LARGEST_FLOAT32)))
        for neighbour in (bits, bits + 1, bits - 1):
            yield from struct.unpack("=f", struct.pack("=i", neighbour))
    else:
        low, high = limits(point)
        # Above 2^53 a value stands for many raw numbers, and the middle of them may show as its neighbour.
        apart = max(Fraction(1), Fraction(math.ulp(value)) / abs(per_raw) / 8)
        for steps in (0, 1, -1, 2, -2, 3, -3, 4, -4):
            yield min(max(round(exact + apart * steps), low), high)


def registers(point: ModbusPoint, section: ModbusSection, raw: float) -> bytes:
    """The registers of a raw number of the point's type, as they are on the wire. Not for a bit."""
    word_order, byte_order = point.word_order or section.word_order, point.byte_order or section.byte_order
    held = int(str(raw), 16) if point.type.startswith("bcd") else raw
    return in_order(word_order, byte_order, lambda layout: struct.pack(layout + CODES[point.type], held))


def limits(point: ModbusPoint) -> tuple[int, int]:
    """The smallest and the largest raw number of a point that is no float."""
    bits = 16 * point.width
    if point.type.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    if point.type.startswith("int"):
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


_LARGEST_FLOAT32 = (2.0 - 2.0**-23) * 2.0**127
_LARGEST_FLOAT64 = (2.0 - 2.0**-52) * 2.0**1023


def _exactly(value: float) -> Fraction:
    return Fraction(value) if isinstance(value, int) else decimal(value)


def _float(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(_LARGEST_FLOAT64, exact)


def _within(number: float, largest: float) -> float:
    return min(max(number, -largest), largest)
