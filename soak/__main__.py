"""`make soak`: half an hour of everything that can go wrong, and the books at its end."""

import argparse
import asyncio
import json
import secrets
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo.processes import PartFailed
from simulators.lab.plan import Trace, plan
from simulators.lab.trace import lines_of, read_trace
from soak.play import Outcome, Play
from soak.report import show
from soak.stage import stage

FOLDER = Path(".soak")
DEFAULT_S = 1800


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=DEFAULT_S, help="how long faults go on")
    parser.add_argument("--seed", type=int, default=None, help="of the faults; random if not given")
    parser.add_argument("--trace", type=Path, help="play this timetable instead of a seed's")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for logs and databases; made anew")
    parser.add_argument("--json", action="store_true", help="only JSON on the standard output")
    asked = parser.parse_args()
    console = Console(stderr=True)
    if asked.trace is not None:
        trace = read_trace(asked.trace)
    else:
        seed = secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
        trace = plan(seed, asked.seconds * 1000, "soak")
    kept = asked.folder.with_name(asked.folder.name + ".jsonl")
    kept.write_text("\n".join(lines_of(trace)) + "\n")
    again = f"make soak SEED={trace.seed} SECONDS={trace.duration_ms // 1000}"
    if asked.trace is not None:
        again = f"python -m soak --trace {asked.trace}"
    console.print(f"seed {trace.seed}: {len(trace.faults)} faults, see {kept}; to repeat:\n  {again}")
    try:
        outcome = asyncio.run(_run(trace, asked.folder, console))
    except PartFailed as err:
        console.print(f"[red]{err}\nto repeat:\n  {again}")
        return 1
    if outcome is None:
        return 130
    show(outcome, console)
    if not outcome.is_good:
        console.print(f"[red]logs and databases are in {asked.folder}; to repeat:\n  {again}")
    sys.stdout.write(
        json.dumps(outcome.as_json(), ensure_ascii=False, indent=None if asked.json else 1) + "\n"
    )
    return 0 if outcome.is_good else 1


async def _run(trace: Trace, folder: Path, console: Console) -> Outcome | None:
    """None when a person has stopped it."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with stage(folder, trace.seed) as parts:
        play = Play(parts, trace)
        playing = asyncio.ensure_future(play.run())
        stopped = asyncio.ensure_future(stop.wait())
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            shown = progress.add_task("", total=trace.duration_ms / 1000)
            while not (playing.done() or stopped.done()):
                progress.update(shown, advance=1, description=", ".join(sorted(play.now)) or "calm")
                await asyncio.wait({playing, stopped}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not playing.done():
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            return None
        return playing.result()


if __name__ == "__main__":
    sys.exit(main())
