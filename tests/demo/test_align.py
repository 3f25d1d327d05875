"""The judge of the demonstration sees each kind of loss, whatever surrounds it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.align import Shown, tally

ROW = [float(i * i % 97) for i in range(60)]


def shown(values: list[float], unconfirmed: tuple[int, ...] = ()) -> list[Shown]:
    return [Shown(value, i not in unconfirmed) for i, value in enumerate(values)]


def test_all_there_is_no_fault() -> None:
    result = tally(shown(ROW), ROW)
    assert (result.produced, result.stored, result.missing, result.doubled, result.wrong_value) == (
        60,
        60,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("at", [0, 1, 30, 59])
def test_a_value_that_was_lost_is_missing(at: int) -> None:
    result = tally(shown(ROW), ROW[:at] + ROW[at + 1 :])
    assert (result.produced, result.missing, result.doubled, result.wrong_value) == (60, 1, 0, 0)


@pytest.mark.parametrize("at", [0, 1, 30, 59])
def test_a_value_that_was_stored_twice_is_doubled(at: int) -> None:
    result = tally(shown(ROW), [*ROW[: at + 1], *ROW[at:]])
    assert (result.produced, result.missing, result.doubled, result.wrong_value) == (60, 0, 1, 0)


@pytest.mark.parametrize("at", [0, 30, 59])
def test_a_value_that_was_changed_is_wrong(at: int) -> None:
    result = tally(shown(ROW), [*ROW[:at], -1.0, *ROW[at + 1 :]])
    assert (result.missing, result.doubled, result.wrong_value) == (0, 0, 1)


def test_one_lost_from_a_row_of_equal_values_is_missing() -> None:
    assert tally(shown([5.0] * 40), [5.0] * 39).missing == 1


def test_a_value_under_way_when_the_reader_was_killed_may_be_stored_or_not() -> None:
    without = tally(shown(ROW, unconfirmed=(20,)), ROW[:20] + ROW[21:])
    assert (without.produced, without.missing, without.in_flight) == (59, 0, 1)
    stored = tally(shown(ROW, unconfirmed=(20,)), ROW)
    assert (stored.produced, stored.missing, stored.in_flight) == (60, 0, 0)


def test_a_long_run_of_losses_is_counted_whole() -> None:
    assert tally(shown(ROW), ROW[:10] + ROW[45:]).missing == 35


@given(st.integers(0, 2**32))
def test_the_books_balance_whatever_happened(seed: int) -> None:
    chance = random.Random(seed)
    kept = [value for value in ROW for _ in range(chance.choice([1, 1, 1, 1, 1, 0, 2]))]
    changed = [value if chance.random() > 0.05 else -value - 1 for value in kept]
    result = tally(shown(ROW), changed)
    assert result.produced == len(ROW)
    assert result.produced - result.missing + result.doubled == result.stored == len(changed)
