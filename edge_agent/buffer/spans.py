"""Sets of sequence numbers as the fewest ranges: what a collector need not be sent any more."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """Numbers from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Spans:
    """An immutable set of numbers. Costs memory for its ranges, not for its numbers."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        """Ranges in any order, which may touch or overlap."""
        merged: list[Span] = []
        for first, last in sorted(spans):
            if last < first:
                continue
            if merged and first <= merged[-1].last + 1:
                merged[-1] = Span(merged[-1].first, max(merged[-1].last, last))
            else:
                merged.append(Span(first, last))
        self._spans = tuple(merged)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self._spans == other._spans

    def __hash__(self) -> int:
        return hash(self._spans)

    def __repr__(self) -> str:
        return f"Spans({[tuple(span) for span in self._spans]})"

    @property
    def last(self) -> int:
        """The greatest number; 0 when there is none."""
        return self._spans[-1].last if self._spans else 0

    def at(self, number: int) -> Span | None:
        """The range that `number` is in."""
        index = bisect_right(self._spans, (number, float("inf"))) - 1
        return self._spans[index] if index >= 0 and self._spans[index].last >= number else None

    def next_after(self, number: int) -> int | None:
        """The least number above `number` that is in the set."""
        index = bisect_right(self._spans, (number, float("inf")))
        if index and self._spans[index - 1].last > number:
            return number + 1
        return self._spans[index].first if index < len(self._spans) else None

    def next_free(self, number: int) -> int:
        """The least number from `number` on that is not in the set."""
        inside = self.at(number)
        return number if inside is None else inside.last + 1

    def plus(self, first: int, last: int) -> "Spans":
        return Spans([*self._spans, (first, last)])

    def minus(self, first: int, last: int) -> "Spans":
        if last < first:
            return self
        left = ((a, min(b, first - 1)) for a, b in self._spans)
        right = ((max(a, last + 1), b) for a, b in self._spans)
        return Spans([*left, *right])

    def without(self, other: "Spans") -> "Spans":
        """Those that are not in `other`."""
        rest = self
        for first, last in other.within(self._spans[0].first, self.last) if self._spans else ():
            rest = rest.minus(first, last)
        return rest

    def within(self, first: int, last: int) -> "Spans":
        """Those from `first` to `last` that are in the set."""
        return Spans((max(a, first), min(b, last)) for a, b in self._spans)

    def cut_at(self, others: Iterable["Spans"]) -> Iterator[Span]:
        """The same numbers, in ranges none of which reaches over an end of a range of `others`."""
        edges = sorted({edge for other in others for a, b in other for edge in (a, b + 1)})
        for first, last in self._spans:
            inside = edges[bisect_right(edges, first) : bisect_right(edges, last)]
            for begin, end in pairwise([first, *inside, last + 1]):
                yield Span(begin, end - 1)

    def common(self, other: "Spans") -> "Spans":
        """Those that are in both."""
        return Spans(span for own in self._spans for span in other.within(*own))
