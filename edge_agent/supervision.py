"""Keeps a part of the agent at work that polling does not need, whatever happens in it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

RESTART_PAUSE_S: Final = 60.0  # in real time, after a bug

_log = logging.getLogger(__name__)


async def supervised(work: Callable[[], Awaitable[None]], ended: asyncio.Event) -> None:
    """Do `work` again and again until `ended` is set; what is under way then is not broken off."""
    while not ended.is_set():
        try:
            await work()
        except Exception:
            _log.exception("a part of the agent failed; it starts again in %g s", RESTART_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTART_PAUSE_S):
                    await ended.wait()
