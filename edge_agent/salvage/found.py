"""What is told of a damaged file: its rows, and how many of them there are."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Via(StrEnum):
    """How a row was found, the surest first."""

    TREE = "tree"
    BROKEN_PAGE = "broken-page"  # reached from the root, but something else on its page is wrong
    ORPHAN = "orphan"  # on a page that nothing points to any more
    DOUBTFUL = "doubtful"  # as an orphan, but deleted or replaced before, perhaps


@dataclass(frozen=True, slots=True)
class Row:
    """A row as `SELECT *` would give it. `rowid` is None in a table WITHOUT ROWID.

    No two have the same key, but for doubtful ones, which may also be older versions of one row.
    """

    table: str
    rowid: int | None
    values: tuple[Any, ...]  # each is a `records.Value`, of a type that its table allows
    page: int
    via: Via


@dataclass(slots=True)
class Report:
    """What was found so far. `broken` counts rows that are there but not as they were written."""

    page_size: int
    pages: int
    broken_pages: set[int] = field(default_factory=set)
    rows: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    log_is_damaged: bool = False
