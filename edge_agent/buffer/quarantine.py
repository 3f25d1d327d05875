"""Reads what collectors refused, for a person to look at; beside a running agent too."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer.blocks import decode_item
from models.at_rest import AtRest, RowDamaged
from models.errors import NeedsAHuman
from models.reading import Item

_REFUSED = """
SELECT collector.name, refused.seq, refused.refused_ms, refused.reason, refused.item
FROM refused JOIN collector ON collector.id = refused.collector ORDER BY refused.id
"""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item that one collector is not to get."""

    collector: str
    seq: int
    refused_ms: int
    reason: str
    item: Item | None  # None: its row is damaged


def refused_items(path: Path, at_rest: AtRest) -> Iterator[RefusedItem]:
    """Those of the last `buffer.retention_days`, the oldest first. Nothing in the file is changed."""
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            for name, seq, refused_ms, reason, sealed in opened.execute(_REFUSED):
                yield RefusedItem(name, seq, refused_ms, reason, _opened(sealed, seq, at_rest))
    except sqlite3.Error as err:
        raise NeedsAHuman(f"{path}: cannot be read ({err}); see `edge-agent doctor`") from err


def _opened(sealed: bytes, seq: int, at_rest: AtRest) -> Item | None:
    try:
        return decode_item(at_rest.open(sealed, table="refused", name=seq))
    except RowDamaged:
        return None
