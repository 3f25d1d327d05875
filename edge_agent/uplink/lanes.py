"""What is sent next: what is live, then what the collector asks for again, then what has waited long."""

import logging
from collections.abc import Sequence
from typing import Final

from edge_agent.buffer.contract import Batch, Buffer, Cut, Outbox
from models.envelope import is_intact
from models.times import Clock

BACKLOG_BATCHES: Final = 2
"""More than this many full batches that wait are a backlog: what is live then goes before them."""

RESEND_AGAIN_S: Final = 3600.0  # a collector that still misses what it was sent again has another problem
MOST_NOTED: Final = 1000  # of them, before those are forgotten that are due again
ASK_AT_ONCE: Final = 50  # envelopes that are looked up together

_log = logging.getLogger(__name__)


class Lanes:
    """Three lanes for one collector. Items of a lane go in the order of their numbers.

    After an outage there is a *backlog*. Its items are sent as fast as that goes, or as `backlog_per_s`
    allows, but every `live_every_s` what has come since goes first: who looks at the building sees it as it
    is now.
    """

    def __init__(
        self,
        buffer: Buffer,
        outbox: Outbox,
        clock: Clock,
        *,
        live_every_s: float,
        max_items: int,
        backlog_per_s: float | None,
    ) -> None:
        self._buffer, self._outbox, self._clock = buffer, outbox, clock
        self._live_every_s, self._max_items, self._backlog_per_s = live_every_s, max_items, backlog_per_s
        self._until = 0  # what comes later waits for others, to share an envelope with them
        self._live_after: int | None = None  # while there is a backlog: it ends with this number
        self._is_sending_live = False  # all that was live when its turn came
        self._live_due_s = self._backlog_due_s = 0.0
        self._missing: list[tuple[int, int]] = []
        self._again: list[Batch] = []
        self._sent_again: dict[bytes, float] = {}  # by digest, when

    @property
    def has_backlog(self) -> bool:
        return self._live_after is not None

    def begin(self) -> None:
        """Send what there is now; with a backlog, go on with it."""
        if self._live_after is not None:
            return
        self._until = self._buffer.last_seq
        self._live_due_s = self._clock.monotonic_s() + self._live_every_s
        if self._outbox.unsealed > BACKLOG_BATCHES * self._max_items:
            self._live_after = self._until

    def hurry(self) -> None:
        """What is live is due now."""
        self._live_due_s = self._clock.monotonic_s()

    @property
    def is_live_due(self) -> bool:
        """Whether what has come is to go before what has waited."""
        return self._clock.monotonic_s() >= self._live_due_s

    @property
    def pause_s(self) -> float:
        """How long nothing of a backlog may be sent; 0 where there is none."""
        if self._live_after is None:
            return 0.0
        return max(0.0, min(self._backlog_due_s, self._live_due_s) - self._clock.monotonic_s())

    async def next_cut(self) -> Cut | None:
        """The next items for a new batch; None if there are none, or if the backlog is to wait."""
        if self._live_after is None:
            return self._up_to(self._until, await self._outbox.cut(self._max_items))
        if self.is_live_due:
            if not self._is_sending_live:
                self._is_sending_live, self._until = True, self._buffer.last_seq
            cut = self._up_to(self._until, await self._outbox.cut(self._max_items, after=self._live_after))
            if cut is not None:
                return cut
            self._is_sending_live = False
            self._live_due_s = self._clock.monotonic_s() + self._live_every_s
        if self._clock.monotonic_s() < self._backlog_due_s:
            return None
        cut = self._up_to(self._live_after, await self._outbox.cut(self._max_items))
        if cut is None:
            _log.info("all that had waited for the collector is sent")
            self._live_after = None
            self._until = self._buffer.last_seq
            return await self.next_cut()
        if self._backlog_per_s is not None:
            self._backlog_due_s = self._clock.monotonic_s() + len(cut.items) / self._backlog_per_s
        return cut

    def miss(self, missing: Sequence[tuple[int, int]]) -> None:
        """The collector says what it does not hold of what lies below its newest number."""
        self._missing = list(missing)
        self._again.clear()

    async def next_again(self) -> Batch | None:
        """A delivered batch that the collector has lost, because it was restored from a backup."""
        now_s = self._clock.monotonic_s()
        while not self._again and self._missing:
            first_seq, last_seq = self._missing.pop(0)
            kept = await self._outbox.kept(first_seq, last_seq, limit=ASK_AT_ONCE)
            self._again = [batch for batch in kept if self._is_due_again(batch, now_s)]
            self._again.reverse()
        if not self._again:
            return None
        batch = self._again.pop()
        self._note_again(batch, now_s)
        return batch

    def _note_again(self, batch: Batch, now_s: float) -> None:
        old_s = now_s - RESEND_AGAIN_S
        if len(self._sent_again) >= MOST_NOTED:
            self._sent_again = {digest: at_s for digest, at_s in self._sent_again.items() if at_s > old_s}
        self._sent_again[batch.digest] = now_s

    def _is_due_again(self, batch: Batch, now_s: float) -> bool:
        again_s = self._sent_again.get(batch.digest)
        is_due = again_s is None or now_s - again_s >= RESEND_AGAIN_S
        return is_due and is_intact(batch.body, batch.digest)

    @staticmethod
    def _up_to(last_seq: int, cut: Cut | None) -> Cut | None:
        return cut if cut is not None and cut.first_seq <= last_seq else None
