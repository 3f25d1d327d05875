"""The process of two simulated door controllers, at each of which something happens some 20 times a second.

Arguments: the URL that the first one pushes to, and the file that is told when what happened.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from bench.polled import BUILDING, CLOCK, SEED
from models.times import DAY_MS
from simulators.access.controller import SimulatedController, running_controller
from simulators.access.people import Deed, day_of_doors
from simulators.access.sections import DoorControllerSection

PUSHES, STREAMS = "pushes", "streams"  # the devices

WARM_UP: Final = 60  # events that are not counted: connections are made meanwhile, and the log is caught up
EVENTS: Final = 600
LAST: Final = WARM_UP + EVENTS  # the serial number of the last event; that of the first is 1
EVERY_S: Final = 0.05
_PATIENCE_S: Final = 60.0


def sections(push_url: str) -> list[DoorControllerSection]:
    """Each tells its events in one way alone, and makes it hard.

    Pushes come with pictures; the parts of the stream do not say how long they are, so that their end must be
    known without the boundary of the next.
    """
    return [
        DoorControllerSection(id=PUSHES, people=50, streams=False, push_url=push_url, pictures=True),
        DoorControllerSection(id=STREAMS, people=50, lengths=False),
    ]


def pauses(events: int, who: str) -> Iterator[float]:
    """Seconds before each of so many events: uneven, so that they meet whatever else comes at even ones."""
    rng = random.Random(f"{SEED} {who}")
    return (rng.uniform(0.5, 1.5) * EVERY_S for _ in range(events))


async def serve(push_url: str, told: Path) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, what a gateway must know to listen.

    At the end `told` has the moments, by device and serial number, in seconds of the monotonic clock, which
    all processes of a machine share. Each is taken before the event is written down and handed to its socket.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pushes, streams = sections(push_url)
    async with (
        running_controller(pushes, clock=CLOCK, seed=SEED, origin_ms=CLOCK.now_ms()) as pushing,
        running_controller(streams, clock=CLOCK, seed=SEED, origin_ms=CLOCK.now_ms()) as streaming,
    ):
        controllers = (pushing, streaming)
        facts = {
            "buses": [bus for one in controllers for bus in one.buses(one.section.id)],
            "devices": [device for one in controllers for device in one.devices(one.section.id)],
            "files": pushing.secret_files | streaming.secret_files,
        }
        print(json.dumps(facts), flush=True)
        moments: dict[str, dict[int, float]] = {one.section.id: {} for one in controllers}
        happening = [asyncio.create_task(_happen(one, moments[one.section.id])) for one in controllers]
        await stop.wait()
        for task in happening:
            task.cancel()
        await asyncio.gather(*happening, return_exceptions=True)
    await asyncio.to_thread(told.write_text, json.dumps(moments))


async def _happen(controller: SimulatedController, moments: dict[int, float]) -> None:
    await _listened_to(controller)
    for deed, pause_s in zip(_deeds(controller), pauses(LAST, controller.section.id), strict=False):
        await asyncio.sleep(pause_s)
        now_s = time.monotonic()
        entry = controller.happen(deed.what, deed.door, deed.person)
        assert entry is not None, "this make has a code for everything"
        moments[entry.serial] = now_s


async def _listened_to(controller: SimulatedController) -> None:
    """Return when somebody listens to its stream, or, if it has none, has asked for its log."""
    for _ in range(round(_PATIENCE_S / EVERY_S)):
        asked_for_log = any(method == "POST" for method, _ in controller.requests)
        if controller.delivery.listeners or (asked_for_log and not controller.section.streams):
            return
        await asyncio.sleep(EVERY_S)


def _deeds(controller: SimulatedController) -> Iterator[Deed]:
    """What happens on the days of the building, one thing after the other; without end."""
    today = CLOCK.now_ms() // DAY_MS
    for day in count(today):
        yield from day_of_doors(BUILDING, controller.people, doors=controller.section.doors, day=day)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
