"""What leads to Modbus units, whatever frames it puts around their questions."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from drivers.contract import Exchange


class Question(NamedTuple):
    """A request, and how the reply to it must look. Both begin with the function code."""

    pdu: bytes
    begins: bytes  # how the reply begins that does what was asked
    size: int  # of that reply; 0: it tells its length itself

    @property
    def function(self) -> int:
        return self.pdu[0]


class Answer(NamedTuple):
    """The reply to a question from its function code on, and when it was asked for and complete."""

    pdu: bytes
    sent_ms: int
    received_ms: int

    @property
    def refusal(self) -> int:
        """The code of an exception; 0 when it is none."""
        return self.pdu[1] if self.pdu[0] & 0x80 else 0


class Link(Protocol):
    """One wire to one or several units, with one question at a time."""

    @property
    def endpoint(self) -> str:
        """Its name in messages."""

    async def attach(self, user: object) -> None:
        """Connect on behalf of a user. Raises DeviceUnreachable; the user is attached all the same."""

    async def detach(self, user: object) -> None:
        """Give up the link; it closes with its last user. Safe without `attach`."""

    def is_certain(self, unit: int, question: Question) -> bool:
        """Whether a reply to the question could be nothing else, in whatever order late replies come in."""

    async def request(
        self,
        unit: int,
        question: Question,
        timeout_s: float,
        trace: list[Exchange] | None = None,
        *,
        others: Iterable[Question] = (),
    ) -> Answer:
        """Ask once, and wait for the reply to exactly this question.

        `others` are further reads that the unit may be asked at any time, best first. One of them is asked
        before, where a late reply to an earlier question could not be told from the reply to this one.

        Raises ReplyTimeout, UnusableReply, ConnectionBroke or DeviceUnreachable. Any of them may be
        followed by the same request. A reply that comes too late is never taken for another one.
        """


def reading(pdu: bytes, data_bytes: int) -> Question:
    """A question of function 1 to 4, whose reply carries so many bytes."""
    return Question(pdu, bytes((pdu[0], data_bytes)), 2 + data_bytes)
