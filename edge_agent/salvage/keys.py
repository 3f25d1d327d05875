"""Keeps which keys of a table were found, and which may be elsewhere because the way to them is broken."""

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

from edge_agent.salvage.found import Row, Via
from edge_agent.salvage.pages import Kind
from edge_agent.salvage.shapes import Shape


@dataclass(slots=True)
class Table:
    """What is known of one table while it is read."""

    shape: Shape
    holes: list[tuple[int, int]] = field(default_factory=list)  # keys that a broken way may have led to
    firsts: "array[int]" = field(default_factory=lambda: array("q"))  # keys found, a range a page, ascending
    lasts: "array[int]" = field(default_factory=lambda: array("q"))
    seen: set[object] = field(default_factory=set)  # keys found elsewhere than in a tree of rowids
    broken: list[tuple[int, int]] = field(default_factory=list)  # keys of rows that are there but broken
    is_read: bool = False

    @property
    def kinds(self) -> tuple[Kind, Kind]:
        """Of its leaves, and of the pages above them."""
        if self.shape.has_rowid:
            return Kind.LEAF_TABLE, Kind.INTERIOR_TABLE
        return Kind.LEAF_INDEX, Kind.INTERIOR_INDEX

    def mark_of(self, row: Row) -> object:
        """What tells this row from the others of its table; of doubtful rows, several may have one key."""
        return (self.key_of(row), hash(row.values)) if row.via is Via.DOUBTFUL else self.key_of(row)

    def key_of(self, row: Row) -> object:
        return row.rowid if self.shape.has_rowid else tuple(row.values[place] for place in self.shape.key)

    def note_range(self, first: int, last: int) -> None:
        """What there is of these rowids and those between them is found. Call it in their order."""
        self.firsts.append(first)
        self.lasts.append(last)

    def misses(self, row: Row) -> bool:
        """Whether that row may be one that the tree should have led to."""
        if not self.holes or not self.seen.isdisjoint((self.key_of(row), self.mark_of(row))):
            return False
        key = row.rowid
        if key is None:
            return True
        at = bisect_right(self.firsts, key) - 1
        is_found = at >= 0 and key <= self.lasts[at]
        return not is_found and any(low < key <= high for low, high in self.holes)
