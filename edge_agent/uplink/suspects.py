"""Finds the one item for which a batch is refused, and puts it aside, so that all others arrive."""

import logging

from edge_agent.buffer.contract import Buffer, Cut, Outbox
from edge_agent.buffer.spans import Span

_log = logging.getLogger(__name__)


class Suspects:
    """Halves what was refused until one item stands alone.

    Who refuses everything must not empty the buffer: after one item nothing more is put aside before
    something was accepted. When another one stands alone by then, the newest item goes before it.
    """

    def __init__(self, buffer: Buffer, outbox: Outbox) -> None:
        self._buffer, self._outbox = buffer, outbox
        self._span: Span | None = None  # one of these is wrong
        self._put_aside = False  # an item, since the last success
        self._needs_success = False  # before what is suspected may be put aside

    def note_success(self) -> None:
        self._put_aside = self._needs_success = False

    async def cut(self) -> Cut | None:
        """Half of what is suspected and in no batch yet; None when nothing is."""
        if self._span is None:
            return None
        after = self._span.first - 1
        first = await self._outbox.cut(1, after=after)
        if first is None or first.first_seq > self._span.last:
            self._span, self._needs_success = None, False
            return None
        if self._needs_success:
            return await self._outbox.cut(1, after=max(after, self._buffer.last_seq - 1)) or first
        return await self._outbox.cut(max(1, (self._span.last - first.first_seq + 1) // 2), after=after)

    async def divide(self, first_seq: int, count: int, detail: str) -> bool:
        """Look for the wrong item among these; put it aside when it stands alone.

        Whether there is sense in going on at once.
        """
        if self._needs_success:
            return False
        if count > 1:
            self._span = Span(first_seq, first_seq + count - 1)
            return True
        if self._put_aside:
            self._span, self._needs_success = Span(first_seq, first_seq), True
            return True
        _log.warning("item %d is put aside, for it was refused: %s", first_seq, detail)
        await self._outbox.refuse(first_seq, detail)
        self._span = None
        self._put_aside = True
        return True
