"""What one unit still owes: replies that have not come, and may come late.

A reply carries no address, and RTU frames no number either: two replies of the same unit, function code and
length look the same. A unit answers in order, though. So a reply that can only belong to the newest question
proves that everything older has come or never will.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from drivers.modbus.link import Question

LATE_LIMIT_S: Final = 10.0
"""After which a reply does not come any more, or after ten timeouts, when that is longer: serial servers and
radio modems that store and forward keep a request for seconds."""

OWN_REFUSALS: Final = (1, 2, 3)
"""Exceptions that only the unit itself gives, about the question itself."""

FROM_BETWEEN: Final = (10, 11)
"""Those of a gateway in its own name: the unit may still answer."""


class _Debt(NamedTuple):
    question: Question
    until_s: float


class Owed:
    """The debts of one unit. Times are those of the event loop."""

    def __init__(self) -> None:
        self._debts: list[_Debt] = []

    def add(self, question: Question, now_s: float, timeout_s: float) -> None:
        """It was asked, and has not answered."""
        self._debts.append(_Debt(question, now_s + max(LATE_LIMIT_S, 10 * timeout_s)))

    def settle(self) -> None:
        """A reply has come that can only belong to the newest question."""
        self._debts.clear()

    def is_owed(self, function: int) -> bool:
        """Whether a frame with this function code, or an exception to it, may be a late reply."""
        return any(debt.question.function == function & 0x7F for debt in self._debts)

    def forget_the_old(self, now_s: float) -> None:
        self._debts = [debt for debt in self._debts if debt.until_s > now_s]

    def may_ask(self, question: Question) -> bool:
        """Whether its reply could not be mistaken for an owed one."""
        return all(debt.question.begins != question.begins for debt in self._debts)

    def may_refuse(self, question: Question) -> bool:
        """Whether an exception to it could not be mistaken for an owed one."""
        return all(debt.question.function != question.function for debt in self._debts)

    def another(self, others: Iterable[Question]) -> Question | None:
        """The first of these reads whose reply looks unlike all that is owed."""
        return next((read for read in others if self.may_ask(read)), None)
