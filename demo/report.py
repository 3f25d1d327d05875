"""Shows a person how the demonstration went."""

from rich.console import Console
from rich.table import Table

from demo.play import Outcome


def show(outcome: Outcome, console: Console) -> None:
    tally = outcome.tally
    table = Table(title="From the devices' own ledgers to the collector's API")
    table.add_column("")
    table.add_column("", justify="right")
    rows: list[tuple[str, int | str]] = [
        ("values that the meters showed and the agent took", tally.produced),
        ("stored by the collector", tally.stored),
        ("missing", tally.missing),
        ("doubled", tally.doubled),
        ("with a wrong value", tally.wrong_value),
        ("lost on the wire when the agent was killed, never acknowledged", tally.in_flight),
        ("things that happened at doors and bays / stored / missing / doubled",
         f"{outcome.happened.happened} / {outcome.happened.stored} / {outcome.happened.missing} / "
         f"{outcome.happened.doubled}"),
        ("kills of collector / agents, cuts of the network",
         f"{outcome.kills_of_collector} / {outcome.kills_of_agent} / {outcome.network_cuts}"),
        ("alerts by mail / by webhook", f"{outcome.mails} / {outcome.posts}"),
        ("seconds", f"{outcome.seconds:.0f}"),
    ]  # fmt: skip
    for what, figure in rows:
        table.add_row(what, f"{figure:,}" if isinstance(figure, int) else figure)
    console.print(table)
    for alert in outcome.alerts:
        console.print(f"alert: {alert.detector} of {alert.about}, {alert.state}")
    if not outcome.alerts_as_expected:
        console.print("[red]these are not the alerts that the scenario calls for")
    console.print("[green]all well" if outcome.is_good else "[red]NOT all well")
