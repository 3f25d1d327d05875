"""Numbers come back from their codes, and bits that are no code are refused."""

from collections.abc import Iterable
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bits import MAX_BITS, BitReader, best_parameter, code, to_bytes, unzigzag, zigzag

numbers = st.integers(0, MAX_BITS).flatmap(lambda bits: st.integers(0, (1 << bits) - 1))
parameters = st.integers(0, MAX_BITS - 1)
rows = st.lists(st.tuples(numbers, parameters), max_size=20)


def read_all(reader: BitReader, parameters: Iterable[int]) -> list[int]:
    found = [number for parameter in parameters for number in reader.read(1, parameter)]
    assert all(0 <= number < 1 << MAX_BITS + 1 for number in found)
    return found


@given(rows)
def test_numbers_of_all_sizes_come_back_with_any_parameter(row: list[tuple[int, int]]) -> None:
    reader = BitReader(to_bytes("".join(code([number], parameter) for number, parameter in row)))
    assert read_all(reader, [parameter for _, parameter in row]) == [number for number, _ in row]
    reader.finish()


@given(st.lists(numbers).map(lambda some: some * 500), parameters)
@settings(deadline=None, max_examples=30)
def test_a_row_of_numbers_is_read_at_once(row: list[int], parameter: int) -> None:
    reader = BitReader(to_bytes(code([7], 1) + code(row, parameter) + code([9], 4)))
    assert [reader.read(1, 1), reader.read(len(row), parameter), reader.read(1, 4)] == [[7], row, [9]]


@given(st.lists(numbers, min_size=1))
def test_the_best_parameter_takes_as_many_bits_as_it_says(row: list[int]) -> None:
    bits, parameter = best_parameter(row)
    assert len(code(row, parameter)) == bits


@given(rows.filter(bool))
def test_a_code_that_is_cut_off_is_refused(row: list[tuple[int, int]]) -> None:
    reader = BitReader(to_bytes("".join(code([number], parameter) for number, parameter in row))[:-1])
    with pytest.raises(ValueError, match="cut off"):
        read_all(reader, [parameter for _, parameter in row])


def test_bytes_behind_the_last_number_are_refused() -> None:
    reader = BitReader(to_bytes(code([5], 2)) + b"\0")
    assert reader.read(1, 2) == [5]
    with pytest.raises(ValueError, match="more values"):
        reader.finish()


def test_a_number_larger_than_any_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        BitReader(to_bytes(code([1 << MAX_BITS + 1], 0))).read(1, 0)


@given(st.binary(max_size=60), st.integers(0, 127))
def test_any_bits_are_numbers_or_refused(noise: bytes, parameter: int) -> None:
    reader = BitReader(noise)
    with pytest.raises(ValueError, match="cut off"):
        read_all(reader, repeat(parameter))


@given(st.integers())
def test_signs_come_back(number: int) -> None:
    assert zigzag(number) >= 0
    assert unzigzag(zigzag(number)) == number
