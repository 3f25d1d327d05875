"""Asks the collector for commands, again and again, in questions that wait for an answer."""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_agent.control.inbox import Inbox
from edge_agent.uplink.backoff import Backoff
from models.errors import NeedsAHuman, RetryLater
from models.protocol import MOST_GOT
from models.times import Clock

WAIT_S: Final = 25.0
"""In real time. Firewalls and proxies forget a connection that is silent for a minute, some after 30 s."""

LOOK_FOR_TIME_S: Final = 5.0

_log = logging.getLogger(__name__)


class Asking(Protocol):
    """A connection to the collector."""

    async def ask_commands(self, *, got: Sequence[str], everything: bool, wait_s: float) -> list[bytes]:
        """Signed commands for us, as soon as there are any; none after `wait_s`, in real time.

        Raises what `edge_agent.uplink.questions.Questions` does.
        """


class Fetcher:
    """`run` never ends by itself, and nothing waits for it."""

    def __init__(
        self,
        connection: Asking,
        inbox: Inbox,
        *,
        clock: Clock,
        is_time_known: Callable[[], bool] = lambda: True,
        rng: random.Random | None = None,
    ) -> None:
        """Without the time nobody can say what has expired: nothing is asked for before it is known."""
        self._connection, self._inbox, self._clock = connection, inbox, clock
        self._is_time_known = is_time_known
        self._backoff = Backoff(rng)
        self._got: deque[str] = deque()  # arrived, and the collector has not been told so
        self._everything = True  # at first: what arrived before may have been lost with the process
        self._problem = ""

    async def run(self) -> None:
        while True:
            if not self._is_time_known():
                await self._clock.sleep(LOOK_FOR_TIME_S)
                continue
            try:
                was_right = await self._fetch()
            except (RetryLater, NeedsAHuman) as err:
                self._say(type(err).__name__, err)
                await self._clock.sleep(self._backoff.pause_s(err))
                continue
            self._say("", None)
            if was_right:
                self._backoff.reset()
            else:
                await self._clock.sleep(self._backoff.pause_s())

    async def _fetch(self) -> bool:
        """One question. Whether all that came was the collector's: else the same would come at once again."""
        told = list(self._got)[:MOST_GOT]
        wait_s = 0.0 if len(self._got) > len(told) else WAIT_S
        signed = await self._connection.ask_commands(got=told, everything=self._everything, wait_s=wait_s)
        for _ in told:
            self._got.popleft()
        self._everything = False
        ids = [await self._inbox.take(command) for command in signed]
        self._got.extend(command_id for command_id in ids if command_id is not None)
        return None not in ids

    def _say(self, problem: str, err: Exception | None) -> None:
        """Once when it begins and once when it ends."""
        if problem and problem != self._problem:
            _log.warning("no commands come from the collector: %s", err)
        elif self._problem and not problem:
            _log.info("commands come from the collector again")
        self._problem = problem
