"""Makes envelopes of what is cut from the buffer, for one collector."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from edge_agent.buffer.contract import Batch, Cut, Outbox
from edge_agent.identity.folder import Identity
from models.envelope import MOST_SECONDS, STANDARD, ContentKey, Signer, Suite, seal
from models.errors import NeedsAHuman, RetryLater
from models.reading import Item
from models.times import Clock

Settle = Callable[[Sequence[Item | None]], Sequence[Item | None] | None]
"""Gives items the times that are known by now; None while the time is not known."""


class CannotSeal(NeedsAHuman):
    """Items that the buffer took cannot be sealed."""

    def __init__(self, first_seq: int, detail: str) -> None:
        super().__init__(f"items from number {first_seq} on cannot be sealed: {detail}; report this")
        self.first_seq, self.detail = first_seq, detail


class TimeUnknown(RetryLater):
    """Nobody has told the gateway the time yet, so its readings have none that could be sent."""

    def __init__(self) -> None:
        super().__init__(
            "the time is not known yet; check the time service of this gateway, or the network; without both "
            "set its clock by a watch, then: edge-agent confirm-time"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who seals, and for whom."""

    gateway_id: str
    collector_key: bytes = field(repr=False)
    signing_key: Signer = field(repr=False)
    suite: Suite = STANDARD

    @classmethod
    def of(cls, identity: Identity) -> "Sender":
        """A gateway that is enrolled."""
        return cls(
            gateway_id=identity.gateway_id,
            collector_key=identity.collector.collector_key,
            signing_key=identity.envelope_key,
            suite=identity.suite,
        )


class Sealer:
    """Seals a cut once and stores the envelope, so that every sending of it sends the same bytes."""

    def __init__(
        self, outbox: Outbox, sender: Sender, clock: Clock, settle: Settle = lambda items: items
    ) -> None:
        self._outbox, self._sender, self._clock, self._settle = outbox, sender, clock, settle
        self._content_key: ContentKey | None = None  # fresh in each process: no nonce can come twice
        self._key_since_s = 0.0

    async def seal(self, cut: Cut) -> Batch:
        """Raise CannotSeal and TimeUnknown."""
        key = await self._fresh_enough_key()
        items = self._settle(cut.items)
        if items is None:
            raise TimeUnknown
        work = partial(
            seal,
            items,
            gateway_id=self._sender.gateway_id,
            epoch=cut.epoch,
            number=cut.number,
            first_seq=cut.first_seq,
            previous=cut.previous,
            content_key=key,
            signing_key=self._sender.signing_key,
            earlier=cut.earlier,
        )
        try:
            sealed = await asyncio.to_thread(work)  # 30 ms of computing must not keep a poll waiting
        except (ValueError, OverflowError) as err:  # such as two times that are 2**64 ms apart
            raise CannotSeal(cut.first_seq, str(err)) from err
        batch = Batch(
            number=cut.number,
            first_seq=cut.first_seq,
            count=len(cut.items),
            items=cut.present,
            key_id=key.key_id,
            body=sealed.body,
            digest=sealed.digest,
        )
        await self._outbox.store(batch)
        return batch

    def sign_with(self, signing_key: Signer) -> None:
        """From the next cut on."""
        self._sender = replace(self._sender, signing_key=signing_key)

    async def _fresh_enough_key(self) -> ContentKey:
        """The content key, or another when it has sealed enough batches or for long enough.

        Batches that were sealed with the one before keep it: the collector has its package.
        """
        now_s = self._clock.monotonic_s()
        key = self._content_key
        if key is not None and not key.is_worn and now_s - self._key_since_s < MOST_SECONDS:
            return key
        sender = self._sender
        key, package = ContentKey.fresh(
            gateway_id=sender.gateway_id,
            collector_key=sender.collector_key,
            signing_key=sender.signing_key,
            suite=sender.suite,
        )
        await self._outbox.add_key(key.key_id, package)
        self._content_key, self._key_since_s = key, now_s
        return key
