"""One cycle of questions to one device on a shared line: who is silent is not asked for long.

Some protocols put nothing into a reply that says which of several equal questions it answers. A reply that
was given up and comes later then looks like the answer to the same question of the next cycle. So while
such a reply may still come, the same question is asked more than once: until more replies agree than can be
late, or until so many have come that the last one cannot be, for a device answers in the order of asking.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.contract import DeviceUnreachable, Exchange
from drivers.line import ConnectionBroke, Line, Look, Reply, ReplyTimeout, UnusableReply
from models.reading import Reading, Reason

SILENT_IN_A_ROW: Final = 2  # questions without any reply, before the rest of a cycle is not asked for
LATE_S: Final = 10.0
"""In real time. A meter begins within a second; a serial server behind a radio may hold bytes for a few."""

MOST_LATE: Final = 3  # replies to one question that are reckoned with

Attempt = Callable[[], tuple[bytes, Look]]
"""Makes the bytes of one attempt, and what finds their answer."""


@dataclass(slots=True, eq=False)
class Cycle:
    """What one call of `read` knows so far."""

    readings: list[Reading | None]
    trace: list[Exchange] | None
    unanswered: int = 0  # questions in a row
    given_up: Reason = Reason.NONE


class Asker:
    """Asks on behalf of one device. A device that was silent just now gets no second attempt.

    One that was given up for its silence is asked one question, once, before all the others.
    """

    def __init__(self, line: Line, *, who: str, timeout_s: float, retries: int) -> None:
        """`who` is what messages call the device."""
        self.line = line
        self._who, self._timeout_s, self._retries = who, timeout_s, retries
        self._was_silent = False
        self._open: dict[bytes, list[tuple[float, Cycle]]] = {}  # questions that nobody has answered

    async def ask(self, attempt: Attempt, cycle: Cycle, *, same: bytes | None = None) -> Reply | Reason:
        """The reply, or why there is none. Costs no wait at all once the device was given up.

        `same` is what all questions have in common whose replies cannot be told apart; None: there are none.
        """
        late = self._late(same, cycle)
        heard: list[bytes] = []
        while True:
            reply = await self._ask(attempt, cycle, same)
            if isinstance(reply, Reason):
                return reply
            heard.append(reply.frame)
            if heard.count(reply.frame) > late or len(heard) > 2 * late:
                return reply

    async def _ask(self, attempt: Attempt, cycle: Cycle, same: bytes | None) -> Reply | Reason:
        if cycle.given_up:
            return cycle.given_up
        if self._was_silent:
            cycle.unanswered = max(cycle.unanswered, SILENT_IN_A_ROW - 1)
        attempts = 1 + (self._retries if cycle.unanswered == 0 else 0)
        reason = Reason.NO_REPLY
        broke = False
        while attempts > 0:
            attempts -= 1
            try:
                reply = await self._ask_once(attempt, cycle, same)
            except ReplyTimeout:
                reason = Reason.NO_REPLY
            except UnusableReply:
                reason = Reason.BAD_REPLY
            except ConnectionBroke:
                # Serial servers close what was idle, and that shows only now: it is no attempt, once.
                reason = Reason.UNREACHABLE
                attempts += not broke
                broke = True
            except DeviceUnreachable:
                reason = Reason.UNREACHABLE
                break
            else:
                cycle.unanswered = 0
                self._was_silent = False
                return reply
        cycle.unanswered += 1
        if reason is Reason.UNREACHABLE or cycle.unanswered >= SILENT_IN_A_ROW:
            cycle.given_up = reason
            self._was_silent = reason is Reason.NO_REPLY
        return reason

    async def _ask_once(self, attempt: Attempt, cycle: Cycle, same: bytes | None) -> Reply:
        request, look = attempt()
        asked = (asyncio.get_running_loop().time(), cycle)
        if same is not None:
            self._open.setdefault(same, []).append(asked)  # also when this is cancelled
        reply = await self.line.ask(
            request, look, timeout_s=self._timeout_s, who=self._who, trace=cycle.trace
        )
        if same is not None:
            self._open[same].remove(asked)
        return reply

    def _late(self, same: bytes | None, cycle: Cycle) -> int:
        """How many replies to the same question of earlier cycles may still come."""
        if same is None or same not in self._open:
            return 0
        since_s = asyncio.get_running_loop().time() - LATE_S
        self._open[same] = [asked for asked in self._open[same] if asked[0] > since_s]
        return min(MOST_LATE, sum(asked_in is not cycle for _, asked_in in self._open[same]))
