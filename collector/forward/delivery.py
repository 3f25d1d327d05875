"""Brings shared envelopes to the higher collector, byte for byte, until each has its receipt."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from collector.forward.book import Book, Due, Stored
from collector.forward.gateways import CannotShow, OurGateways
from edge_agent.uplink.questions import CollectorRefused, Questions
from models.envelope import is_intact, read_header
from models.errors import RetryLater
from models.protocol import Code, Receipt

AT_ONCE: Final = 3
"""Gateways whose envelopes are under way together; the fourth connection is left to other questions."""

BLOCKED_S: Final = 300.0
"""After which a gateway that is not taken is tried again, and up to twice as much."""

_OF_THE_GATEWAY: Final = frozenset({Code.FOREIGN_GATEWAY, Code.NOT_WANTED})
_OF_THE_ENVELOPE: Final = frozenset(
    {
        Code.MALFORMED,
        Code.WRONG_SUITE,
        Code.CHAIN_BROKEN,
        Code.TOO_LARGE,
        Code.BAD_SIGNATURE,
        Code.CANNOT_OPEN,
    }
)

_log = logging.getLogger(__name__)


class ForeignReceipt(RetryLater):
    """The receipt is for something else than was sent; the envelope counts as not forwarded."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the receipt for envelope {number} names other content than was sent")
        self.number = number


class _NotTaken(Exception):
    """Nothing of one gateway can be forwarded for now; the others go on."""


@dataclass(slots=True)
class Blocked:
    """Why nothing of a gateway goes out."""

    why: str
    until_s: float


@dataclass(slots=True)
class Delivery:
    """One round after the other. What is refused for good stops one envelope, or one gateway, and no more."""

    book: Book
    questions: Questions
    gateways: OurGateways
    now_ms: Callable[[], int]
    on_receipt: Callable[[Receipt], Awaitable[None]]
    monotonic_s: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    blocked: dict[str, Blocked] = field(default_factory=dict)

    async def round(self) -> int:
        """Send some of what waits; how many were acknowledged. Raise RetryLater or NeedsAHuman."""
        now_s = self.monotonic_s()
        self.blocked = {each: block for each, block in self.blocked.items() if block.until_s > now_s}
        due = sorted(await self.book.due(self.blocked.keys()), key=lambda one: (one.gateway_id, one.id))
        places = asyncio.Semaphore(AT_ONCE)
        sent: list[Due] = []
        work = [
            self._send_all(list(of_one), places, sent)
            for _, of_one in groupby(due, key=lambda one: one.gateway_id)
        ]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        if sent:
            await self.book.note_sent(sent, self.now_ms())
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(sent)

    async def _send_all(self, due: list[Due], places: asyncio.Semaphore, sent: list[Due]) -> None:
        gateway_id = due[0].gateway_id
        async with places:
            try:
                await self._announce(gateway_id, only_news=True)
                for one in due:
                    if await self._forward(one):
                        sent.append(one)
            except _NotTaken as err:
                _log.warning("nothing of %s is forwarded for now: %s", gateway_id, err)
                pause_s = self.rng.uniform(BLOCKED_S, 2 * BLOCKED_S)
                self.blocked[gateway_id] = Blocked(str(err), self.monotonic_s() + pause_s)

    async def _forward(self, due: Due) -> bool:
        """Whether it was acknowledged; else the book says why not. Raise _NotTaken, or what ends a round."""
        stored = await self.book.envelope(due)
        if not is_intact(stored.body, stored.digest):
            await self._give_up(due, "it was damaged in the database of this collector")
            return False
        try:
            receipt = await self._send(due, stored)
        except CollectorRefused as err:
            if err.code in _OF_THE_GATEWAY:
                raise _NotTaken(err.detail) from err
            if err.code not in _OF_THE_ENVELOPE:
                raise
            await self._give_up(due, f"{err.code}: {err.detail}")
            return False
        header = read_header(stored.body)
        if (receipt.epoch, receipt.number, receipt.digest) != (
            header.epoch.hex(),
            due.number,
            stored.digest.hex(),
        ):
            raise ForeignReceipt(due.number)
        await self.book.send_again(due, receipt.missing)
        await self.on_receipt(receipt)
        return True

    async def _send(self, due: Due, stored: Stored) -> Receipt:
        """The answer, after whatever the other side lacked to take it was sent too, each thing once."""
        tried: set[str] = set()
        while True:
            try:
                return await self.questions.send_batch(stored.body, after=stored.after)
            except CollectorRefused as err:
                if err.code in tried:
                    raise
                tried.add(err.code)
                if err.code == Code.UNKNOWN_KEY:
                    await self._send_key(due.gateway_id, read_header(stored.body).key_id)
                elif err.code in (Code.UNKNOWN_GATEWAY, Code.BAD_SIGNATURE):  # it was restored, perhaps
                    await self._announce(due.gateway_id)
                else:
                    raise

    async def _announce(self, gateway_id: str, *, only_news: bool = False) -> None:
        introduction = await self.gateways.introduce(gateway_id)
        if only_news and introduction.digest == await self.book.announced(gateway_id):
            return
        with _about_the_gateway():
            await self.questions.announce(gateway_id, introduction.body)
        await self.book.note_announced(gateway_id, introduction.digest)

    async def _send_key(self, gateway_id: str, key_id: bytes) -> None:
        try:
            package = await self.gateways.package(gateway_id, key_id)
        except CannotShow as err:
            raise _NotTaken(str(err)) from err
        with _about_the_gateway():
            await self.questions.send_key(key_id, package)

    async def _give_up(self, due: Due, why: str) -> None:
        _log.warning("envelope %d of %s is not forwarded: %s", due.number, due.gateway_id, why)
        await self.book.note_refused(due, why)


@contextlib.contextmanager
def _about_the_gateway() -> Iterator[None]:
    """What is refused meanwhile is about the gateway, and about no envelope."""
    try:
        yield
    except CollectorRefused as err:
        if err.code in _OF_THE_GATEWAY | _OF_THE_ENVELOPE:
            raise _NotTaken(err.detail) from err
        raise
