"""The first value of each series, which no earlier one of its own helps to shorten.

The series of one point, over all devices, are a row. Each value is written as its distance from that of the
device before. Where that is shorter for the whole row, the value that the same device has at the point before
is taken off first: the three phases of a meter lie alike. Devices may have different scales.
"""

from collections.abc import Mapping

from models.bits import BitReader, best_parameter, code, unzigzag, zigzag

Scaled = tuple[int, int]
"""Decimals, and the value as an integer with so many."""

_NOTHING: Scaled = (0, 0)


def code_row(row: Mapping[int, Scaled], before: Mapping[int, Scaled]) -> tuple[int, str]:
    """The values of a row by device: in which way they are written, and the code."""
    ways = [_steps(row, {}), _steps(row, before)]
    (_, parameter), way = min((best_parameter(steps), way) for way, steps in enumerate(ways))
    return parameter << 1 | way, code(ways[way], parameter)


def read_row(
    reader: BitReader, way: int, decimals: Mapping[int, int], before: Mapping[int, Scaled]
) -> dict[int, Scaled]:
    """What `code_row` was given; `decimals` are by device. Raise ValueError where it is cut off."""
    parameter, helped = way >> 1, way & 1
    row: dict[int, Scaled] = {}
    last = _NOTHING
    for device, scale in decimals.items():
        rest = unzigzag(reader.read(parameter)) + _at(last, scale)
        last = (scale, rest)
        row[device] = (scale, rest + _at(before.get(device, _NOTHING), scale) if helped else rest)
    return row


def _steps(row: Mapping[int, Scaled], before: Mapping[int, Scaled]) -> list[int]:
    steps: list[int] = []
    last = _NOTHING
    for device, (scale, value) in row.items():
        rest = value - _at(before.get(device, _NOTHING), scale)
        steps.append(zigzag(rest - _at(last, scale)))
        last = (scale, rest)
    return steps


def _at(value: Scaled, decimals: int) -> int:
    """About the same value with other decimals."""
    own, integer = value
    if own == decimals:
        return integer
    power: int = 10 ** abs(decimals - own)
    return integer * power if own < decimals else integer // power
