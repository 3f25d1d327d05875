"""Whole numbers as byte planes: the form in which the columns of a batch compress best."""

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import sub
from typing import Any

_TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def differences(numbers: Sequence[int]) -> list[int]:
    """The first number, then each one's distance from the one before."""
    return [*numbers[:1], *map(sub, numbers[1:], numbers)]


def steps_from(numbers: Sequence[int]) -> list[int]:
    """The distance of each number to one after the last: zeros where they count up from 0."""
    return [number - last - 1 for last, number in pairwise([-1, *numbers])]


def within(indices: Sequence[int], limit: int) -> None:
    """Raise ValueError unless each is at least 0 and below `limit`."""
    if indices and not (min(indices) >= 0 and max(indices) < limit):
        raise ValueError("points to something that is not in it")


def sums(steps: Iterable[int], *, start: int = 0, keep_start: bool = False) -> list[int]:
    """What `differences` was made of."""
    total = start
    totals = [start] if keep_start else []
    for step in steps:
        total += step
        totals.append(total)
    return totals


def reinterpret(source: str, numbers: Sequence[float], target: str) -> list[Any]:
    """The same bytes read as another type: how a float's bits become an integer and back."""
    return array(target, array(source, numbers).tobytes()).tolist()


def pack(numbers: Sequence[int]) -> bytes:
    """Zigzag integers of one width, first all lowest bytes, then all second bytes, and so on."""
    zigzag = [number << 1 if number >= 0 else ~(number << 1) for number in numbers]
    top = max(zigzag, default=0)
    width = 1 if top < 1 << 8 else 2 if top < 1 << 16 else 4 if top < 1 << 32 else 8
    column = array(_TYPECODES[width], zigzag)
    if sys.byteorder == "big":
        column.byteswap()
    raw = column.tobytes()
    return bytes([width]) + b"".join(raw[plane::width] for plane in range(width))


def unpack(data: bytes, count: int | None = None) -> list[int]:
    """What `pack` was given. Raise ValueError or IndexError for other bytes, or another count."""
    width = data[0]
    if width not in _TYPECODES or (len(data) - 1) % width:
        raise ValueError("a column is cut off")
    length = (len(data) - 1) // width
    if count is not None and length != count:
        raise ValueError(f"a column holds {length} numbers where {count} belong")
    raw = bytearray(length * width)
    for plane in range(width):
        raw[plane::width] = data[1 + plane * length : 1 + (plane + 1) * length]
    column = array(_TYPECODES[width], bytes(raw))
    if sys.byteorder == "big":
        column.byteswap()
    return [number >> 1 if number & 1 == 0 else ~(number >> 1) for number in column]
