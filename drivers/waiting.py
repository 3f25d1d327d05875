"""Waits for whichever of several things happens first, and leaves none of them running."""

import asyncio
from collections.abc import Awaitable

from models.times import Clock


async def first_of(*things: Awaitable[object]) -> None:
    """Return when one of them is done; the others are cancelled. Errors of the one are raised."""
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sleep_unless(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return after `seconds`, or as soon as `event` is set; it is set in both cases."""
    if event.is_set():
        return

    def wake(_: object) -> None:
        event.set()

    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    sleeping.add_done_callback(wake)
    try:
        await event.wait()
    finally:
        sleeping.remove_done_callback(wake)
        sleeping.cancel()
