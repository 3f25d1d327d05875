"""`make demo`: the main job from the meter to the alert, on one machine and a fast clock."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from rich.console import Console

from demo.clock import Leg, Pace
from demo.play import Outcome, play_on, play_once
from demo.processes import PartFailed
from demo.report import show
from demo.stage import stage

FOLDER = Path(".demo")
HTTP_PORT = 8080
DAY_S = 86_400
MONDAY_MS = 1_772_380_800_000  # 2 March 2026, 00:00 in Beijing
HISTORY_S = 9 * DAY_S + 19.5 * 3600  # until half past seven in the evening of the second Wednesday, at
HISTORY_SPEED = 20_000  # that is a sweep of all meters in 0.2 s
EVENING_SPEED = 1_800  # a sweep in 2 s: slow enough to be disturbed in the middle
LATER_SPEED = 60  # a minute a second, for people who watch


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="play the fixed scenario with its faults and judge it"
    )
    once = parser.parse_args().once
    console = Console(stderr=True)
    speed = EVENING_SPEED if once else LATER_SPEED
    pace = Pace(str(FOLDER / "start"), MONDAY_MS, (Leg(0, HISTORY_SPEED), Leg(HISTORY_S, speed)))
    evening_ms = MONDAY_MS + round(HISTORY_S * 1000)
    annex = Pace(str(FOLDER / "start-annex"), evening_ms, (Leg(0, LATER_SPEED),))
    try:
        return asyncio.run(_run(pace, annex, console, once=once))
    except PartFailed as err:
        console.print(f"[red]{err}")
        return 1


async def _run(pace: Pace, annex: Pace, console: Console, *, once: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console.print("Starting a collector, 20 simulated meters and an edge agent …")
    async with stage(FOLDER, pace, annex, http_port=0 if once else HTTP_PORT) as parts:
        if not once:
            await play_on(parts, console, stop, HISTORY_S)
            return 0
        playing = asyncio.ensure_future(play_once(parts, console, HISTORY_S))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({playing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not playing.done():
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
            return 130
        outcome: Outcome = playing.result()
    show(outcome, console)
    print(json.dumps(outcome.as_json(), ensure_ascii=False), flush=True)
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
