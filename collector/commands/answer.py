"""How a command answers: text for people, JSON for programs, and an exit code for both."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from models.document import DocumentMistakes
from models.errors import GatehouseError


@dataclass(frozen=True, slots=True)
class Answer:
    """The same said twice. `is_good` is False when it is bad news: exit code 1."""

    data: Any  # plain JSON values
    text: str
    is_good: bool = True


def show(work: Callable[[], Answer], *, as_json: bool) -> None:
    """Do it and print the answer; what it cannot do is said in the same form, with exit code 1."""
    try:
        answer = work()
    except GatehouseError as err:
        if as_json:
            typer.echo(json.dumps({"error": str(err), **_facts(err)}, ensure_ascii=False))
        else:
            typer.echo(str(err), err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(answer.data, ensure_ascii=False) if as_json else answer.text)
    if not answer.is_good:
        raise typer.Exit(1)


def _facts(err: GatehouseError) -> dict[str, Any]:
    if not isinstance(err, DocumentMistakes):
        return {}
    return {
        "problems": [
            {"file": p.file, "line": p.line, "where": p.where, "what": p.what, "hint": p.hint}
            for p in err.problems
        ]
    }


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> str:
    """Rows in columns; `empty` when there are none."""
    if not rows:
        return empty
    cells = [list(titles), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
