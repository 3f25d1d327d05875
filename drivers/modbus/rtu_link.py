"""Modbus RTU over any line: several units, and no late reply that is taken for another one."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from drivers.contract import Exchange
from drivers.line import Line, ReplyTimeout, UnusableReply
from drivers.modbus import rtu
from drivers.modbus.link import Answer, Question
from drivers.modbus.owed import FROM_BETWEEN, OWN_REFUSALS, Owed


class RtuLink:
    """A `Link` on a line. Make one for each line: it knows what every unit still owes.

    Best is a question whose reply looks like none that is owed, see `is_certain`. When one is asked that is
    not so, another read goes before it, whose reply looks different: units answer in order, so that reply
    says that nothing older will come. An exception says it only when no exception to the same function is
    owed and the unit itself gave it. Where no such read is left, the unit is not asked until what it owes
    is too old to come.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = asyncio.Lock()
        self._owed: defaultdict[int, Owed] = defaultdict(Owed)
        self._is_echoed = False  # whether the adapter hears itself; every answer tells

    @property
    def endpoint(self) -> str:
        """See `Link`."""
        return self._line.endpoint

    async def attach(self, user: object) -> None:
        """See `Link`."""
        await self._line.attach(user)

    async def detach(self, user: object) -> None:
        """See `Link`."""
        await self._line.detach(user)

    def is_certain(self, unit: int, question: Question) -> bool:
        """See `Link`."""
        return self._owed[unit].is_certain(question, asyncio.get_running_loop().time())

    async def request(
        self,
        unit: int,
        question: Question,
        timeout_s: float,
        trace: list[Exchange] | None = None,
        *,
        others: Iterable[Question] = (),
    ) -> Answer:
        """See `Link`. A question that cannot be asked yet is ReplyTimeout as well, at once."""
        async with self._lock:
            owed = self._owed[unit]
            owed.forget_the_old(asyncio.get_running_loop().time())
            if not owed.may_ask(question):
                await self._catch_up(unit, owed, others, timeout_s, trace)
            return await self._ask(unit, owed, question, timeout_s, trace)

    async def _catch_up(
        self,
        unit: int,
        owed: Owed,
        others: Iterable[Question],
        timeout_s: float,
        trace: list[Exchange] | None,
    ) -> None:
        """Make sure that nothing which the unit owes will come any more. Raises as `request`."""
        read = owed.another(others)
        if read is None:
            raise ReplyTimeout(self.endpoint, f"unit {unit}", 0.0)
        answer = await self._ask(unit, owed, read, timeout_s, trace)
        if answer.refusal and answer.refusal not in OWN_REFUSALS:
            raise UnusableReply(self.endpoint, f"unit {unit}")

    async def _ask(
        self, unit: int, owed: Owed, question: Question, timeout_s: float, trace: list[Exchange] | None
    ) -> Answer:
        request = rtu.frame(unit, question.pdu)
        look = rtu.look_for(
            unit,
            question,
            is_echoed=self._is_echoed,
            is_exception_ours=owed.may_refuse(question),
        )
        exchanges: list[Exchange] = []
        sent = self._line.sent
        is_answered = False
        try:
            reply = await self._line.ask(
                request, look, timeout_s=timeout_s, who=f"unit {unit}", trace=exchanges
            )
            answer = Answer(reply.frame[1:-2], reply.sent_ms, reply.received_ms)
            is_answered = answer.refusal not in FROM_BETWEEN
        except UnusableReply as err:
            if all(self._is_late(piece, request) for piece in err.heard):
                raise ReplyTimeout(self.endpoint, f"unit {unit}", timeout_s) from err
            raise
        finally:
            if trace is not None:
                trace += exchanges
            if not is_answered and self._line.sent != sent:  # also when nobody waits for it any more
                owed.add(question, asyncio.get_running_loop().time(), timeout_s)
        if not answer.refusal or answer.refusal in OWN_REFUSALS:
            owed.settle()
        self._is_echoed = request in exchanges[-1].replies[:-1]
        return answer

    def _is_late(self, piece: bytes, request: bytes) -> bool:
        """Whether this is what was sent, or what a unit was asked before: no sign that anything is wrong."""
        unit = rtu.unit_of(piece)
        return piece == request or (unit is not None and self._owed[unit].is_owed(piece[1]))
