"""Shows a person how soak went: the conservation table, and the meters' ledger against the collector."""

from rich.console import Console
from rich.table import Table

from soak.books import STATES
from soak.play import Outcome


def show(outcome: Outcome, console: Console) -> None:
    books, tally = outcome.books, outcome.tally
    table = Table(
        title=f"soak, seed {outcome.seed}: {outcome.seconds:.0f} s, {outcome.faults.total()} faults"
    )
    table.add_column("")
    table.add_column("", justify="right")
    for collector, states in (books.last.items if books.last is not None else {}).items():
        for state in STATES:
            table.add_row(
                f"{state} {collector and f'for {collector} '}by the agent's books", f"{states[state]:,}"
            )
    rows: list[tuple[str, int | float]] = [
        ("looks at the books, once a second", books.looks),
        ("of them with produced ≠ delivered + pending + quarantined + dropped", len(books.not_conserved)),
        ("most that ever waited on disk", books.most_pending),
        ("most that ever waited in memory, for a disk that refused", books.most_held),
        ("values that the meters showed and the agent took", tally.produced),
        ("stored by the collector", tally.stored),
        ("missing", tally.missing),
        ("of them told by gap records", min(tally.missing, outcome.told_lost)),
        ("doubled", tally.doubled),
        ("with a wrong value", tally.wrong_value),
        ("never acknowledged: under way or in memory when the agent was killed", tally.in_flight),
        ("kills of the agent", outcome.faults["agent.kill"]),
        ("kills of the collector", outcome.faults["collector.kill"]),
        (
            "requests that arrived twice or again later",
            outcome.requests["doubled"] + outcome.requests["late"],
        ),
        ("receipts lost", outcome.requests["lost_receipts"]),
    ]
    for what, figure in rows:
        table.add_row(what, f"{figure:,}")
    console.print(table)
    for note in outcome.notes:
        console.print(f"[red]{note}")
    if not outcome.delivered:
        console.print("[red]not everything was delivered in time")
    console.print("[green]all well" if outcome.is_good else "[red]NOT all well")
