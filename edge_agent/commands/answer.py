"""How a command answers: text for people, JSON for programs, and an exit code for both."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from models.errors import GatehouseError


@dataclass(frozen=True, slots=True)
class Answer:
    """The same said twice. `is_good` is False when it is bad news: then `exit_code` ends the command."""

    data: Any  # plain JSON values
    text: str
    is_good: bool = True
    exit_code: int = 1


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
        raise typer.Exit(answer.exit_code)


def table(titles: list[str], rows: list[list[str]]) -> str:
    """Rows in columns, as wide as the terminal allows; Chinese characters take two places each."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        drawn.add_row(*row)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    with console.capture() as capture:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _facts(err: GatehouseError) -> dict[str, Any]:
    problems = getattr(err, "problems", None)
    if problems is None:
        return {}
    return {
        "problems": [
            {"file": p.file, "line": p.line, "where": p.where, "what": p.what, "hint": p.hint}
            for p in problems
        ]
    }
