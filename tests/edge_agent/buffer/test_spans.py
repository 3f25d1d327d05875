"""Sets of numbers as ranges do what sets of numbers do."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.spans import Spans

ranges = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=8)
numbers = st.integers(1, 42)


def members(spans: Spans) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


def of(pairs: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(ranges)
def test_they_are_the_fewest_ranges_in_order(pairs: list[tuple[int, int]]) -> None:
    spans = Spans(pairs)
    assert members(spans) == of(pairs)
    found = list(spans)
    assert all(before.last + 1 < after.first for before, after in pairwise(found))
    assert spans.last == max(of(pairs), default=0)
    assert spans == Spans(found)


@given(ranges, numbers, numbers)
def test_adding_taking_away_and_cutting_out_are_those_of_sets(
    pairs: list[tuple[int, int]], first: int, last: int
) -> None:
    spans, these = Spans(pairs), of([(first, last)])
    assert members(spans.plus(first, last)) == of(pairs) | these
    assert members(spans.minus(first, last)) == of(pairs) - these
    assert members(spans.within(first, last)) == of(pairs) & these


@given(ranges, ranges)
def test_what_two_have_in_common_is_the_intersection(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    assert members(Spans(one).common(Spans(other))) == of(one) & of(other)


@given(ranges, numbers)
def test_neighbours_are_found(pairs: list[tuple[int, int]], number: int) -> None:
    spans, all_of_them = Spans(pairs), of(pairs)
    span = spans.at(number)
    assert (span is not None) == (number in all_of_them)
    assert spans.next_after(number) == min((n for n in all_of_them if n > number), default=None)
    assert spans.next_free(number) == min(n for n in range(number, 90) if n not in all_of_them)


@given(ranges, st.lists(ranges, max_size=3))
def test_cut_ranges_are_the_same_numbers_and_none_reaches_over_an_end(
    pairs: list[tuple[int, int]], others: list[list[tuple[int, int]]]
) -> None:
    edges = [Spans(other) for other in others]
    cut = list(Spans(pairs).cut_at(edges))
    assert [n for first, last in cut for n in range(first, last + 1)] == sorted(of(pairs))
    for first, last in cut:
        for other in edges:
            assert other.within(first, last) in (Spans(), Spans([(first, last)]))
