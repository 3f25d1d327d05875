"""The values of all series of a batch, as scaled integers wherever that gives back the very same floats.

The devices of one layout share a scale for each of its points: the fewest decimals with which all these
values are integers. The first value of each series is coded by `models.firsts`; its further values follow as
differences, in byte planes. A series that is no short decimal is written as float32 or float64 bits.
"""

import math
from array import array
from collections.abc import Sequence
from operator import sub

import msgspec

from models.bits import BitReader, to_bytes
from models.firsts import Scaled, code_row, read_row
from models.layout import Series
from models.packing import differences, pack, reinterpret, sums, unpack, within

MAX_DECIMALS = 9

_FLOAT32, _FLOAT64 = MAX_DECIMALS + 1, MAX_DECIMALS + 2
_POWERS = [10.0**decimals for decimals in range(MAX_DECIMALS + 1)]
_EXACT = 1 << 53  # above this a float no longer holds every integer


class PackedValues(msgspec.Struct, array_like=True, frozen=True):
    """The values of a batch as it holds them, in the order of `Series.by_name`."""

    decimals: bytes  # by cell
    exceptions: bytes  # series that are not encoded as their cell says, each followed by how it is
    ways: bytes  # by name: how the first values are written
    firsts: bytes
    nexts: bytes
    float32: bytes
    float64: bytes


def pack_values(columns: Sequence[list[float]], series: Series) -> PackedValues:
    """`columns` are by series."""
    fewest = [_fewest_decimals(column) for column in columns]
    by_cell = bytearray(max(series.cell, default=-1) + 1)
    for cell, decimals in zip(series.cell, fewest, strict=True):
        by_cell[cell] = max(by_cell[cell], decimals or 0)
    exceptions: list[int] = []
    ways = bytearray()
    firsts: list[str] = []
    nexts: list[int] = []
    float32: list[int] = []
    float64: list[int] = []
    before: dict[int, Scaled] = {}
    for row in series.by_name():
        first: dict[int, Scaled] = {}
        for index in row:
            column, wanted = columns[index], by_cell[series.cell[index]]
            if not column:
                continue
            encoding, integers = _scaled(column, fewest[index], wanted)
            if integers:
                first[series.device[index]] = (encoding, integers[0])
                nexts += map(sub, integers[1:], integers)
            elif array("f", column).tolist() == column:
                encoding = _FLOAT32
                float32 += differences(reinterpret("f", column, "I"))
            else:
                encoding = _FLOAT64
                float64 += reinterpret("d", column, "q")
            if encoding != wanted:
                exceptions += (index, encoding)
        way, coded = code_row(first, before)
        ways.append(way)
        firsts.append(coded)
        before = first
    return PackedValues(
        decimals=bytes(by_cell),
        exceptions=pack(exceptions),
        ways=bytes(ways),
        firsts=to_bytes("".join(firsts)),
        nexts=pack(nexts),
        float32=pack(float32),
        float64=pack(float64),
    )


def unpack_values(packed: PackedValues, series: Series, sizes: Sequence[int]) -> list[list[float]]:
    """What `pack_values` was given; `sizes` says how many values each series has. Raise ValueError."""
    columns: list[list[float]] = [[] for _ in sizes]
    encodings = _encodings(packed, series)
    reader = BitReader(packed.firsts)
    nexts, float32, float64 = _Taken(packed.nexts), _Taken(packed.float32), _Taken(packed.float64)
    before: dict[int, Scaled] = {}
    for row, way in zip(series.by_name(), packed.ways, strict=True):
        filled = [index for index in row if sizes[index]]
        scales = {series.device[i]: encodings[i] for i in filled if encodings[i] <= MAX_DECIMALS}
        before = read_row(reader, way, scales, before)
        for index in filled:
            size, encoding = sizes[index], encodings[index]
            if encoding == _FLOAT32:
                columns[index] = reinterpret("I", sums(float32.take(size)), "f")
            elif encoding == _FLOAT64:
                columns[index] = reinterpret("q", float64.take(size), "d")
            else:
                power, (_, first) = _POWERS[encoding], before[series.device[index]]
                integers = sums(nexts.take(size - 1), start=first, keep_start=True)
                columns[index] = [integer / power for integer in integers]
    reader.finish()
    for taken in (nexts, float32, float64):
        taken.finish()
    return columns


class _Taken:
    """Packed numbers, taken from their beginning."""

    def __init__(self, data: bytes) -> None:
        self._numbers, self._at = unpack(data), 0

    def take(self, count: int) -> list[int]:
        found = self._numbers[self._at : self._at + count]
        if len(found) != count:
            raise ValueError("has fewer values than readings")
        self._at += count
        return found

    def finish(self) -> None:
        if self._at != len(self._numbers):
            raise ValueError("has more values than readings")


def _encodings(packed: PackedValues, series: Series) -> list[int]:
    """How each series is encoded: its decimals, or float32, or float64."""
    encodings = [packed.decimals[cell] for cell in series.cell]
    exceptions = unpack(packed.exceptions)
    within(exceptions[::2], len(encodings))
    for index, encoding in zip(exceptions[::2], exceptions[1::2], strict=True):
        encodings[index] = encoding
    within(encodings, _FLOAT64 + 1)
    return encodings


def _fewest_decimals(column: list[float]) -> int | None:
    """The fewest decimals with which every value is an integer; None if there are none."""
    if not all(map(math.isfinite, column)):
        return None
    if not all(column) and any(math.copysign(1.0, value) < 0 for value in column if value == 0):
        return None  # an integer has no -0
    decimals = 0
    for value in column:  # most columns are settled by looking at each value once
        while round(value * _POWERS[decimals]) / _POWERS[decimals] != value:
            decimals += 1
            if decimals > MAX_DECIMALS:
                return None
    return decimals


def _scaled(column: list[float], fewest: int | None, wanted: int) -> tuple[int, list[int]]:
    """The values as integers with `wanted` decimals, else with the fewest, and with how many; else none."""
    largest = max(map(abs, column))
    for decimals in () if fewest is None else (wanted, fewest):
        power = _POWERS[decimals]
        if largest * power < _EXACT:
            integers = [round(value * power) for value in column]
            if [integer / power for integer in integers] == column:
                return decimals, integers
    return wanted, []
