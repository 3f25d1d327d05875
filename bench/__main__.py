"""`make bench`: measures everything and writes docs/performance.md."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from bench import (
    appends,
    backlog,
    doors,
    edge,
    families,
    intake,
    lines,
    restart,
    sealing,
    size,
    sweeps,
)
from bench.report import Figures, reached, report

REPORT = Path("docs/performance.md")


def main() -> int:
    console = Console(stderr=True)
    with console.status("") as status:
        figures = asyncio.run(measure(status.update))
    text = report(figures)
    REPORT.write_text(text)
    console.print(Markdown(text))
    return 0 if reached(figures) else 1


async def measure(say: Callable[[str], None]) -> Figures:
    """Everything, one after the other, but for the line, which needs no processor."""
    line = asyncio.create_task(lines.measure(), name="line")
    say("sealed bytes per reading …")
    sizes = await asyncio.to_thread(size.measure)
    say("sealing and opening by each suite …")
    sealings = await asyncio.to_thread(sealing.measure)
    say("durable appends beside bare sqlite3 …")
    appended = await asyncio.to_thread(appends.measure)
    say("how fast a backlog drains …")
    drained = await backlog.measure()
    say("a restart with ten million readings that wait …")
    restarted = await restart.measure()
    say("intake of the collector beside bare sqlite3 …")
    taken = await asyncio.to_thread(intake.measure)
    say("what a reading costs in each family …")
    costs = await families.measure()
    say("the requests of each profile …")
    requests = await sweeps.measure()
    say("20 meters at 9600 baud, of which one dies …")
    await line
    say("door events on their way to the disk …")
    events = await doors.measure()
    say("the agent beside a bare pymodbus loop, two to three minutes …")
    agent = await edge.measure()
    return Figures(
        agent, sizes, taken, appended, drained, restarted, costs, requests, line.result(), events, sealings
    )


if __name__ == "__main__":
    sys.exit(main())
