"""The first value of each series, which no earlier one of its own helps to shorten.

The series of one point, over all devices, are a row. Each value is written as its distance from that of the
device before. Where that is shorter for the whole row, the value that the same device has at the point before
is taken off first: the three phases of a meter lie alike. Devices may have different scales.
"""

from dataclasses import dataclass, field
from operator import add, sub

from models.bits import BitReader, best_parameter, code, unzigzag, zigzag
from models.packing import differences, sums


@dataclass(slots=True)
class Row:
    """The first values of one point over the devices that have it, as integers with so many decimals."""

    devices: list[int] = field(default_factory=list)
    scales: list[int] = field(default_factory=list)  # decimals, by device
    values: list[int] = field(default_factory=list)

    @property
    def scale(self) -> int | None:
        """The decimals of all values; None where they differ, or there are no values."""
        first = self.scales[:1]
        return first[0] if first and self.scales.count(first[0]) == len(self.scales) else None


def code_row(row: Row, before: Row) -> tuple[int, str]:
    """The values of a row: in which way they are written, and the code."""
    ways = [_steps(row, row.values), _steps(row, list(map(sub, row.values, _expected(row, before))))]
    (_, parameter), way = min((best_parameter(steps), way) for way, steps in enumerate(ways))
    return parameter << 1 | way, code(ways[way], parameter)


def read_row(reader: BitReader, way: int, row: Row, before: Row) -> None:
    """Put in `row`, whose devices and scales are known, the values that `code_row` was given.

    Raise ValueError where they are cut off.
    """
    steps = [unzigzag(number) for number in reader.read(len(row.devices), way >> 1)]
    rests = sums(steps) if row.scale is not None else _rests(row, steps)
    row.values = list(map(add, rests, _expected(row, before))) if way & 1 else rests


def _steps(row: Row, rests: list[int]) -> list[int]:
    """The differences from device to device, without signs."""
    if row.scale is not None:
        return [zigzag(step) for step in differences(rests)]
    scales, last = [0, *row.scales], [0, *rests]
    return [
        zigzag(rest - _at(last[i], scales[i], scale))
        for i, (rest, scale) in enumerate(zip(rests, row.scales, strict=True))
    ]


def _rests(row: Row, steps: list[int]) -> list[int]:
    """What `_steps` was given, where the scales differ."""
    rests: list[int] = []
    last = last_scale = 0
    for step, scale in zip(steps, row.scales, strict=True):
        last = step + _at(last, last_scale, scale)
        last_scale = scale
        rests.append(last)
    return rests


def _expected(row: Row, before: Row) -> list[int]:
    """What each device has at the point before, with the decimals that it has here."""
    scale, scale_before = row.scale, before.scale
    if row.devices == before.devices and scale is not None and scale_before is not None:
        if scale == scale_before:
            return before.values
        return [_at(value, scale_before, scale) for value in before.values]
    known = dict(zip(before.devices, zip(before.scales, before.values, strict=True), strict=True))
    nothing = (0, 0)
    found = [known.get(device, nothing) for device in row.devices]
    return [_at(value, own, scale) for (own, value), scale in zip(found, row.scales, strict=True)]


def _at(value: int, decimals: int, wanted: int) -> int:
    """About the same value with other decimals."""
    power: int = 10 ** abs(wanted - decimals)
    return value * power if wanted >= decimals else value // power
