"""Whole numbers in as many bits as they need: exponential Golomb codes, shortest near zero.

With parameter k a number below 2**k takes k + 1 bits, and two more for each doubling beyond.
"""

from collections.abc import Sequence
from typing import Final

MAX_BITS: Final = 96
"""Of one number. A value has 53, and nine more decimals another 30."""

_LONGEST: Final = 2 * MAX_BITS + 1  # bits of a code
_AT_ONCE: Final = 4096  # numbers whose bits are text at the same time, eight times as long


def zigzag(number: int) -> int:
    """Numbers of both signs that are near zero as small ones without a sign."""
    return number << 1 if number >= 0 else ~(number << 1)


def unzigzag(number: int) -> int:
    """What `zigzag` was given."""
    return number >> 1 if number & 1 == 0 else ~(number >> 1)


def best_parameter(numbers: Sequence[int]) -> tuple[int, int]:
    """How many bits the numbers take with the parameter that suits them, and that parameter."""
    sizes = sorted(map(int.bit_length, numbers))
    middle = sizes[len(sizes) // 2] if sizes else 0
    return min((_cost(numbers, parameter), parameter) for parameter in range(max(0, middle - 2), middle + 1))


def code(numbers: Sequence[int], parameter: int) -> str:
    """As text of 0 and 1, which Python joins and converts faster than it shifts."""
    codes = []
    for number in numbers:
        shifted = number + (1 << parameter)
        codes.append(f"{shifted:0{2 * shifted.bit_length() - 1 - parameter}b}")
    return "".join(codes)


def to_bytes(coded: str) -> bytes:
    """The bits of all codes, filled up with zeros."""
    size = (len(coded) + 7) // 8
    return int(coded.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


class BitReader:
    """Reads the codes that `to_bytes` was given, in the same order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int, parameter: int) -> list[int]:
        """The next numbers. Raise ValueError where there are not so many, or one has more than `MAX_BITS`."""
        numbers: list[int] = []
        while len(numbers) < count:
            numbers += self._read(min(count - len(numbers), _AT_ONCE), parameter)
        return numbers

    def finish(self) -> None:
        """Raise ValueError when more is left than what fills the last byte."""
        if len(self._data) != (self._at + 7) // 8:
            raise ValueError("has more values than readings")

    def _read(self, count: int, parameter: int) -> list[int]:
        byte, at = divmod(self._at, 8)
        chunk = self._data[byte : byte + count * _LONGEST // 8 + 2]
        bits = f"{int.from_bytes(chunk, 'big'):0{8 * len(chunk)}b}" if chunk else ""
        base = 1 << parameter
        numbers = []
        for _ in range(count):
            one = bits.find("1", at)
            end = 2 * one - at + parameter + 1
            if one < 0 or end > len(bits) or end - one > MAX_BITS + 1:
                raise ValueError("a number is cut off")
            numbers.append(int(bits[one:end], 2) - base)
            at = end
        self._at = 8 * byte + at
        return numbers


def _cost(numbers: Sequence[int], parameter: int) -> int:
    base = 1 << parameter
    return sum([2 * (number + base).bit_length() for number in numbers]) - len(numbers) * (1 + parameter)
