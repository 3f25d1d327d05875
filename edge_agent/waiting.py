"""Waits for whichever of several things happens first, and leaves none of them running."""

import asyncio
from collections.abc import Awaitable


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
