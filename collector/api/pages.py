"""Turns the pages of a query: it continues after the last key, in the order of that key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Row, Select, tuple_

from collector.api.parameters import PageRequest
from collector.store.engine import Store


@dataclass(frozen=True, slots=True)
class Order:
    """The columns that order a list and together name one row of it. The query must select them."""

    columns: tuple[Column[Any], ...]
    newest_first: bool = False


async def read_page(
    store: Store, statement: Select[Any], order: Order, page: PageRequest, question: Sequence[object]
) -> tuple[list[Row[Any]], str | None]:
    """One page of `statement`, with the cursor of the next one if there is more."""
    columns = order.columns
    key = page.after(question, tuple(column.type.python_type for column in columns))
    if key is not None:
        place = tuple_(*columns)
        statement = statement.where(place < tuple_(*key) if order.newest_first else place > tuple_(*key))
    statement = statement.order_by(*((c.desc() for c in columns) if order.newest_first else columns))
    async with store.read() as connection:
        rows = list((await connection.execute(statement.limit(page.limit + 1))).all())
    return rows[: page.limit], page.cut(rows, question, [column.name for column in columns])
