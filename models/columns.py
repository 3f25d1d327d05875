"""The values of all series of a batch, as scaled integers wherever that gives back the very same floats.

The devices of one layout share a scale for each of its points: the fewest decimals with which all these
values are integers. The first value of each series is coded by `models.firsts`; its further values follow as
differences, in byte planes. Series that are no short decimals are written as float32 or float64 bits.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from operator import sub

import msgspec

from models.bits import BitReader, to_bytes
from models.firsts import Row, code_row, read_row
from models.layout import Series
from models.packing import differences, pack, reinterpret, sums, unpack, within

MAX_DECIMALS = 9

_FLOAT32, _FLOAT64 = MAX_DECIMALS + 1, MAX_DECIMALS + 2
_POWERS = [10.0**decimals for decimals in range(MAX_DECIMALS + 1)]
_EXACT = 1 << 53  # above this a float no longer holds every integer
_SAMPLE = 8  # values that tell how many decimals the others are likely to have


class PackedValues(msgspec.Struct, array_like=True, frozen=True):
    """The values of a batch as it holds them, in the order of `Series.by_name`."""

    encodings: bytes  # by cell: decimals, or float32, or float64
    exceptions: bytes  # series that are not encoded as their cell says, each followed by how it is
    ways: bytes  # by name: how the first values are written
    firsts: bytes
    nexts: bytes
    float32: bytes
    float64: bytes


def pack_values(columns: Sequence[list[float]], series: Series) -> PackedValues:
    """`columns` are by series."""
    writer = _Writer(columns, series)
    before = Row()
    ways, firsts = bytearray(), []
    for cells in series.by_name():
        row = Row()
        for members in cells:
            writer.write_cell(members, row)
        way, coded = code_row(row, before)
        ways.append(way)
        firsts.append(coded)
        before = row
    return PackedValues(
        encodings=bytes(writer.encodings),
        exceptions=pack(writer.exceptions),
        ways=bytes(ways),
        firsts=to_bytes("".join(firsts)),
        nexts=pack(writer.nexts),
        float32=pack(writer.float32),
        float64=pack(writer.float64),
    )


def unpack_values(packed: PackedValues, series: Series, sizes: Sequence[int]) -> list[list[float]]:
    """What `pack_values` was given; `sizes` says how many values each series has. Raise ValueError."""
    columns: list[list[float]] = [[] for _ in sizes]
    encodings = _encodings(packed, series)
    reader = BitReader(packed.firsts)
    nexts, float32, float64 = _Taken(packed.nexts), _Taken(packed.float32), _Taken(packed.float64)
    before = Row()
    for cells, way in zip(series.by_name(), packed.ways, strict=True):
        filled = [index for members in cells for index in members if sizes[index]]
        scaled = [index for index in filled if encodings[index] <= MAX_DECIMALS]
        row = Row([series.device[index] for index in scaled], [encodings[index] for index in scaled])
        read_row(reader, way, row, before)
        for index, scale, first in zip(scaled, row.scales, row.values, strict=True):
            if sizes[index] == 1:
                columns[index] = [first / _POWERS[scale]]
            else:
                power, steps = _POWERS[scale], nexts.take(sizes[index] - 1)
                columns[index] = [integer / power for integer in accumulate(steps, initial=first)]
        if len(scaled) < len(filled):
            for index in filled:
                if encodings[index] == _FLOAT32:
                    columns[index] = reinterpret("I", sums(float32.take(sizes[index])), "f")
                elif encodings[index] == _FLOAT64:
                    columns[index] = reinterpret("q", float64.take(sizes[index]), "d")
        before = row
    reader.finish()
    for taken in (nexts, float32, float64):
        taken.finish()
    return columns


class _Writer:
    """Collects how the series are encoded, and all values but the first ones."""

    def __init__(self, columns: Sequence[list[float]], series: Series) -> None:
        self._columns, self._series = columns, series
        self.encodings = bytearray(max(series.cell, default=-1) + 1)
        self.exceptions: list[int] = []
        self.nexts: list[int] = []
        self.float32: list[int] = []
        self.float64: list[int] = []

    def write_cell(self, members: list[int], row: Row) -> None:
        """The series of one point of one layout; `row` gets their first values."""
        filled = [index for index in members if self._columns[index]]
        values = list(chain.from_iterable([self._columns[index] for index in filled]))
        cell = self._series.cell[members[0]]
        scaled = _scaled(values)
        if scaled is None:
            self._write_one_by_one(cell, filled, row)
            return
        decimals, integers = scaled
        self.encodings[cell] = decimals
        row.devices += [self._series.device[index] for index in filled]
        row.scales += [decimals] * len(filled)
        if len(integers) == len(filled):
            row.values += integers
            return
        ends = accumulate([len(self._columns[index]) for index in filled], initial=0)
        for start, end in pairwise(ends):
            row.values.append(integers[start])
            self.nexts += map(sub, integers[start + 1 : end], integers[start:end])

    def _write_one_by_one(self, cell: int, filled: list[int], row: Row) -> None:
        encodings: list[int] = []
        for index in filled:
            column = self._columns[index]
            scaled = _scaled(column)
            if scaled is not None:
                decimals, integers = scaled
                encodings.append(decimals)
                row.devices.append(self._series.device[index])
                row.scales.append(decimals)
                row.values.append(integers[0])
                self.nexts += map(sub, integers[1:], integers)
            elif array("f", column).tolist() == column:
                encodings.append(_FLOAT32)
                self.float32 += differences(reinterpret("f", column, "I"))
            else:
                encodings.append(_FLOAT64)
                self.float64 += reinterpret("d", column, "q")
        [(usual, _)] = Counter(encodings).most_common(1)
        self.encodings[cell] = usual
        for index, encoding in zip(filled, encodings, strict=True):
            if encoding != usual:
                self.exceptions += (index, encoding)


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
    encodings = [packed.encodings[cell] for cell in series.cell]
    exceptions = unpack(packed.exceptions)
    within(exceptions[::2], len(encodings))
    for index, encoding in zip(exceptions[::2], exceptions[1::2], strict=True):
        encodings[index] = encoding
    within(encodings, _FLOAT64 + 1)
    return encodings


def _scaled(values: list[float]) -> tuple[int, list[int]] | None:
    """The fewest decimals with which all values are integers, and these; None if there are none."""
    if not all(map(math.isfinite, values)):
        return None
    if not all(values) and any(math.copysign(1.0, value) < 0 for value in values if value == 0):
        return None  # an integer has no -0
    largest = max(map(abs, values), default=0.0)
    for decimals, power in enumerate(_POWERS):
        if largest * power >= _EXACT:
            return None
        sample = values[:_SAMPLE]
        if [round(value * power) / power for value in sample] == sample:
            integers = [round(value * power) for value in values]
            if [integer / power for integer in integers] == values:
                return decimals, integers
    return None
