"""Pauses that somebody may end early, and pauses that grow while something fails."""

import asyncio
import random

from drivers.waiting import first_of
from models.times import Clock


async def pause_unless(event: asyncio.Event, seconds: float, clock: Clock) -> bool:
    """Return after `seconds`, or as soon as `event` is set, which it then no longer is; whether it was."""
    await first_of(event.wait(), clock.sleep(seconds))
    was_set = event.is_set()
    event.clear()
    return was_set


class Pauses:
    """How long to wait after a failure: twice as long after each, between `first_s` and `most_s`."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self.failures = 0

    def next_s(self) -> float:
        """The pause after one more failure: up to a quarter shorter, so that many do not come at once."""
        pause_s = min(self._most_s, self._first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return pause_s * random.uniform(0.75, 1.0)  # noqa: S311  # no secret

    def reset(self) -> None:
        self.failures = 0
