"""Shows on the terminal how far long work is; a pipe or a file gets nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from drivers.modbus.scan import Progress

Begin = Callable[[str], Callable[[Progress], None]]
"""Begins a line for a part of the work, and gives what moves it."""


@contextmanager
def shown() -> Iterator[Begin]:
    """One line on stderr for each part of the work, gone when it is done."""
    if not sys.stderr.isatty():
        yield lambda what: lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]} found"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:

        def begin(what: str) -> Callable[[Progress], None]:
            task = bars.add_task(what, total=None, found=0)
            return lambda at: bars.update(task, completed=at.done, total=at.of, found=at.found)

        yield begin


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says on stderr what is under way, while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A line on stderr that says how many are done, and of how many where that is known."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)
