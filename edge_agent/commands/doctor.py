"""Telling what is wrong with a gateway, and what to do next."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent.commands.answer import Answer
from edge_agent.commands.progress import waiting
from edge_agent.doctor.bundle import write_bundle
from edge_agent.doctor.checks import checks_of
from edge_agent.doctor.finding import Finding, State
from edge_agent.doctor.run import examine
from edge_agent.doctor.scene import Host, Scene

NARROW: Final = 80
WIDE: Final = 110  # longer lines are hard to read

_STYLES: Final[Mapping[State, str]] = {
    "ok": "green",
    "warning": "bold yellow",
    "problem": "bold red",
    "skipped": "dim",
}
_EXIT_CODES: Final[Mapping[State, int]] = {"ok": 0, "skipped": 0, "warning": 1, "problem": 2}


def doctor(
    path: Path, host: Host | None = None, *, bundle: Path | None = None, log: Path | None = None
) -> Answer:
    """Bad news with exit code 1 when there are warnings, 2 when there are problems.

    With `bundle` a file for support is written as well, with the end of the file `log`, or of the journal.
    """
    began_s = time.monotonic()
    with waiting("looking at clock, files, buses, collector, disk …"):
        scene = Scene(path, host)
        findings = examine(scene, checks_of(scene))
    facts = report(findings, took_s=time.monotonic() - began_s)
    text = _text(findings, facts)
    if bundle is not None:
        names = write_bundle(bundle, scene, facts, log=log)
        facts["bundle"] = {"file": str(bundle), "parts": names}
        text += f"\n{bundle} is written, without passwords and keys; look through it before you pass it on."
    code: int = facts["exit_code"]
    return Answer(facts, text, is_good=code == 0, exit_code=code)


def report(findings: Sequence[Finding], *, took_s: float) -> dict[str, Any]:
    """For programs."""
    counts = Counter(finding.state for finding in findings)
    return {
        "exit_code": max((_EXIT_CODES[state] for state in counts), default=0),
        "counts": {state: counts[state] for state in _STYLES},
        "took_s": round(took_s, 2),
        "checks": [msgspec.to_builtins(finding) for finding in findings],
    }


def _text(findings: Sequence[Finding], facts: Mapping[str, Any]) -> str:
    """For people: with colours and as wide as a terminal, where it goes to one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_tty = sys.stdout.isatty()
    width = min(Console().width, WIDE) if is_tty else NARROW
    console = Console(width=width, highlight=False, markup=False, force_terminal=is_tty)
    lines = Table.grid(padding=(0, 1))
    for column in ("state", "check"):
        lines.add_column(column, no_wrap=True)
    lines.add_column("seen", overflow="fold")
    for finding in findings:
        said = f"{finding.subject}: {finding.seen}" if finding.subject else finding.seen
        hint = f"\n→ {finding.next}" if finding.next else ""
        lines.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.check, Text(said + hint))
    with console.capture() as capture:
        console.print(lines)
    counts = facts["counts"]
    told = ", ".join(f"{counts[state]} {name}" for state, name in _NAMES.items())
    shown = "\n".join(line.rstrip() for line in capture.get().splitlines())
    return f"{shown}\n\n{told}; took {facts['took_s']:.1f} s"


_NAMES: Final[Mapping[State, str]] = {
    "problem": "problems",
    "warning": "warnings",
    "ok": "ok",
    "skipped": "skipped",
}
