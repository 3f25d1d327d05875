"""What one unit still owes: replies that have not come, and may come late.

A reply carries no address, and RTU frames no number either: two replies of the same unit, function code and
length look the same. A unit answers in order, though. So a reply that can only belong to the newest question
proves that everything older has come or never will.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from drivers.modbus.link import Question

LATE_LIMIT_S: Final = 10.0
"""After which a reply does not come any more, or after ten timeouts, when that is longer: serial servers and
radio modems that store and forward keep a request for seconds."""

OWN_REFUSALS: Final = (1, 2, 3)
"""Exceptions that only the unit itself gives, about the question itself."""

FROM_BETWEEN: Final = (10, 11)
"""Those of a gateway in its own name: the unit may still answer."""


@dataclass(slots=True)
class _Debt:
    question: Question
    until_s: float
    in_order: bool = False  # something newer was answered since


class Owed:
    """The debts of one unit. Times are those of the event loop."""

    def __init__(self) -> None:
        self._debts: list[_Debt] = []

    def add(self, question: Question, now_s: float, timeout_s: float) -> None:
        """It was asked, and has not answered."""
        self._debts.append(_Debt(question, now_s + max(LATE_LIMIT_S, 10 * timeout_s)))

    def settle(self) -> None:
        """A reply has come that can only belong to the newest question."""
        for debt in self._debts:
            debt.in_order = True

    def forget_the_old(self, now_s: float) -> None:
        if self._debts:
            self._debts = [debt for debt in self._debts if debt.until_s > now_s]

    def is_certain(self, question: Question, now_s: float) -> bool:
        """Whether its reply could not be mistaken for an owed one, whatever order they come in."""
        self.forget_the_old(now_s)
        return all(debt.question.begins != question.begins for debt in self._debts)

    def may_ask(self, question: Question) -> bool:
        """Whether its reply could not be mistaken for an owed one, as they come in order."""
        return all(debt.in_order or debt.question.begins != question.begins for debt in self._debts)

    def may_refuse(self, question: Question) -> bool:
        """Whether an exception to it could not be mistaken for an owed one, as they come in order."""
        return all(debt.in_order or debt.question.function != question.function for debt in self._debts)

    def is_owed(self, function: int) -> bool:
        """Whether a frame with this function code, or an exception to it, may be a late reply."""
        return any(debt.question.function == function & 0x7F for debt in self._debts)

    def another(self, others: Iterable[Question]) -> Question | None:
        """The first of these reads whose reply looks unlike all that is owed, or else unlike the newest."""
        candidates = list(others)
        for read in candidates:
            if all(debt.question.begins != read.begins for debt in self._debts):
                return read
        return next((read for read in candidates if self.may_ask(read)), None)
