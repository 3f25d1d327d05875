"""Brings what is in the buffer to the collector: seals it once, and sends it until it has a receipt."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from drivers.waiting import first_of
from edge_agent.buffer.contract import Batch, Buffer, BufferUnavailable, Cut
from edge_agent.timekeeper import Timekeeper
from edge_agent.tls import CollectorNotTrusted, CollectorUnreachable
from edge_agent.uplink.backoff import Backoff
from edge_agent.uplink.questions import CollectorBusy, CollectorRefused, Questions, Told
from models.envelope import MOST_SECONDS, STANDARD, ContentKey, Signer, Suite, is_intact, seal
from models.errors import GatehouseError, NeedsAHuman, RetryLater
from models.protocol import Code, Receipt
from models.times import Clock

RESEND_AGAIN_S: Final = 3600.0  # a collector that still misses what it was sent again has another problem
RESEND_AT_ONCE: Final = 50  # envelopes for one receipt; the next receipt asks for the rest

_log = logging.getLogger(__name__)

# Refusals that may be the fault of one item, with what a collector may answer that is not ours.
_POISONED_STATUS = frozenset({400, 413, 422})
_NOT_THE_ITEMS = frozenset({Code.BAD_SIGNATURE, Code.CANNOT_OPEN})


class CannotSeal(NeedsAHuman):
    """Items that the buffer took cannot be sealed."""

    def __init__(self, first_seq: int, detail: str) -> None:
        super().__init__(f"items from number {first_seq} on cannot be sealed: {detail}; report this")
        self.first_seq, self.detail = first_seq, detail


class ForeignReceipt(RetryLater):
    """The receipt is for something else than was sent; the batch counts as not delivered."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the receipt for batch {number} names other content than was sent")
        self.number = number


class TimeUnknown(RetryLater):
    """Nobody has told the gateway the time yet, so its readings have none that could be sent."""

    def __init__(self) -> None:
        super().__init__("the time is not known yet; check the time service of this gateway, or the network")


@dataclass(slots=True)
class UplinkState:
    """What people are told of the uplink."""

    problem: str = ""  # why nothing goes out just now; "" when all is well
    needs_a_human: bool = False
    delivered_batches: int = 0
    sent_bytes: int = 0
    last_receipt_ms: int | None = None
    last_upload_s: float | None = None
    failures: dict[str, int] = field(default_factory=dict)  # by class of error


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who seals, and for whom."""

    gateway_id: str
    collector_key: bytes = field(repr=False)
    signing_key: Signer = field(repr=False)
    suite: Suite = STANDARD


class Uplink:
    """One collector. `run` never ends by itself; nothing in it makes a poll wait."""

    def __init__(
        self,
        buffer: Buffer,
        questions: Questions,
        sender: Sender,
        *,
        clock: Clock,
        live_every_s: float,
        max_items: int,
        timekeeper: Timekeeper | None = None,
        rng: random.Random | None = None,
        on_delivered: Callable[[Batch, float], None] = lambda batch, seconds: None,
        on_receipt: Callable[[Receipt], Awaitable[None]] | None = None,
    ) -> None:
        self.state = UplinkState()
        self._buffer, self._questions, self._sender, self._clock = buffer, questions, sender, clock
        self._live_every_s, self._max_items = live_every_s, max_items
        self._timekeeper = timekeeper
        self._backoff = Backoff(rng)
        self._hurried = asyncio.Event()
        self._on_delivered, self._on_receipt = on_delivered, on_receipt
        self._content_key: ContentKey | None = None  # fresh in each process: no nonce can come twice
        self._key_since_s = 0.0
        self._last_kind = ""  # of error; said once
        self._suspect_to: int | None = None  # the wrong item is not behind this number
        self._put_aside = 0  # items refused since the last success
        self._sent_again: dict[int, float] = {}

    async def run(self) -> None:
        """Send what there is every `live_every_s`, sooner when a batch is full, for ever."""
        await self._buffer.belong_to(self._sender.gateway_id)
        while True:
            try:
                await self._send_all()
            except (RetryLater, NeedsAHuman) as err:
                self._note(err)
                await self._clock.sleep(self._backoff.pause_s(err))
            else:
                full = self._buffer.wait_unsealed(self._max_items)
                await first_of(self._clock.sleep(self._live_every_s), full, self._hurried.wait())
                self._hurried.clear()

    def hurry(self) -> None:
        """Send what is there now, for somebody waits for it; pauses after a failure are kept."""
        self._hurried.set()

    async def flush(self) -> None:
        """Send all that is there, or as much as goes without a pause. For the end, when `run` has ended."""
        try:
            await self._buffer.belong_to(self._sender.gateway_id)
            await self._send_all()
        except (RetryLater, NeedsAHuman) as err:
            self._note(err)

    async def _send_all(self) -> None:
        """Send what is there now. What comes meanwhile waits for others, to share an envelope with them."""
        if self._timekeeper is not None and not self._timekeeper.is_set:
            await self._hear(await self._questions.ask_time())
        epoch, last_seq = self._buffer.epoch, self._buffer.last_seq
        while (batch := await self._next_batch(epoch, last_seq)) is not None:
            try:
                receipt = await self._send(batch)
            except CollectorRefused as err:
                if not await self._remedied(batch, err):
                    raise
                continue
            await self._settle(batch, receipt)

    async def _hear(self, told: Told | None) -> None:
        """Compare clocks with the collector."""
        if told is None or self._timekeeper is None:
            return
        if events := await self._timekeeper.told(told.collector_ms, asked_s=told.asked_s):
            await self._buffer.append(events)

    async def _next_batch(self, epoch: bytes, last_seq: int) -> Batch | None:
        """The batch that is under way, or a new one from items up to `last_seq` of `epoch`."""
        while (batch := await self._buffer.pending()) is not None:
            if is_intact(batch.body, batch.digest):
                return batch
            _log.warning("batch %d was damaged on disk; it is sealed again", batch.number)
            await self._buffer.withdraw(batch.number)
        while (cut := await self._next_cut()) is not None:
            if cut.first_seq > last_seq and self._buffer.epoch == epoch:
                return None
            try:
                return await self._sealed(cut)
            except CannotSeal as err:
                if not await self._divide(cut.first_seq, len(cut.items), err.detail):
                    raise
        return None

    async def _next_cut(self) -> Cut | None:
        """As many items as may be in one batch; half of those among which one is known to be wrong."""
        if self._suspect_to is not None:
            first = await self._buffer.cut(1)
            if first is not None and first.first_seq <= self._suspect_to:
                return await self._buffer.cut(max(1, (self._suspect_to - first.first_seq + 1) // 2))
            self._suspect_to = None
        return await self._buffer.cut(self._max_items)

    async def _sealed(self, cut: Cut) -> Batch:
        key = await self._fresh_enough_key()
        sender = self._sender
        items = cut.items if self._timekeeper is None else self._timekeeper.boots.settled(cut.items)
        if items is None:
            raise TimeUnknown
        work = partial(
            seal,
            items,
            gateway_id=sender.gateway_id,
            epoch=self._buffer.epoch,
            number=cut.number,
            first_seq=cut.first_seq,
            previous=cut.previous,
            content_key=key,
            signing_key=sender.signing_key,
        )
        try:
            sealed = await asyncio.to_thread(work)  # 30 ms of computing must not keep a poll waiting
        except (ValueError, OverflowError) as err:  # such as two times that are 2**64 ms apart
            raise CannotSeal(cut.first_seq, str(err)) from err
        batch = Batch(cut.number, cut.first_seq, len(cut.items), key.key_id, sealed.body, sealed.digest)
        await self._buffer.store(batch)
        return batch

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
        await self._buffer.add_key(key.key_id, package)
        self._content_key, self._key_since_s = key, now_s
        return key

    async def _send(self, batch: Batch) -> Receipt:
        """The collector's receipt for exactly these bytes."""
        package, sent = await self._buffer.key_package(batch.key_id)
        if not sent:
            await self._send_key(batch.key_id, package)
        started_s = self._clock.monotonic_s()
        try:
            receipt = await self._questions.send_batch(batch.body)
        except CollectorRefused as err:
            if err.code != Code.UNKNOWN_KEY or not sent:
                raise
            await self._send_key(batch.key_id, package)
            receipt = await self._questions.send_batch(batch.body)
        if (receipt.number, receipt.digest) != (batch.number, batch.digest.hex()):
            raise ForeignReceipt(batch.number)
        self.state.last_upload_s = self._clock.monotonic_s() - started_s
        self.state.sent_bytes += len(batch.body)
        return receipt

    async def _send_key(self, key_id: bytes, package: bytes) -> None:
        await self._questions.send_key(key_id, package)
        await self._buffer.key_sent(key_id)

    async def _settle(self, batch: Batch, receipt: Receipt) -> None:
        quarantined = len(receipt.quarantined)
        if quarantined:
            first = receipt.quarantined[0]
            _log.warning("the collector put %d items aside, the first because: %s", quarantined, first.reason)
        await self._buffer.deliver(
            batch.number, quarantined=quarantined, receipt=receipt.model_dump_json(exclude={"missing"})
        )
        self._note_success()
        await self._hear(self._questions.heard)
        self._on_delivered(batch, self.state.last_upload_s or 0.0)
        await self._send_again(receipt)
        if self._on_receipt is not None:
            await self._on_receipt(receipt)

    async def _send_again(self, receipt: Receipt) -> None:
        """Give a collector that was restored from a backup what it had before, if it is still here."""
        now_s = self._clock.monotonic_s()
        for first_seq, last_seq in receipt.missing:
            for batch in await self._buffer.kept(first_seq, last_seq, limit=RESEND_AT_ONCE):
                again_s = self._sent_again.get(batch.number, -RESEND_AGAIN_S)
                if now_s - again_s < RESEND_AGAIN_S or batch.number == receipt.number:
                    continue
                if not is_intact(batch.body, batch.digest):
                    continue
                self._sent_again[batch.number] = now_s
                try:
                    await self._send(batch)
                except CollectorRefused as err:
                    _log.warning(
                        "batch %d, which the collector asked for, was refused: %s", batch.number, err
                    )

    async def _remedied(self, batch: Batch, err: CollectorRefused) -> bool:
        """Whether something could be done about a refusal, so that there is sense in going on at once."""
        if err.code == Code.CHAIN_BROKEN and batch.number > 1:
            # The collector knows these numbers otherwise: this store is an old copy of itself.
            _log.warning("the collector holds other content under our numbers; a new epoch begins")
            await self._buffer.begin_epoch()
            return True
        if err.status not in _POISONED_STATUS or err.code in _NOT_THE_ITEMS or self._put_aside:
            return False
        await self._buffer.withdraw(batch.number)
        last_seq = batch.first_seq + batch.count - 1
        if err.bad_seq is not None and batch.first_seq <= err.bad_seq <= last_seq:
            return await self._divide(err.bad_seq, 1, err.detail)
        return await self._divide(batch.first_seq, batch.count, err.detail)

    async def _divide(self, first_seq: int, count: int, detail: str) -> bool:
        """Narrow down which item is wrong; put it aside when it stands alone.

        Who refuses everything must not empty the buffer: after one item nothing more is put aside before
        something was accepted.
        """
        if self._put_aside:
            return False
        if count > 1:
            self._suspect_to = first_seq + count - 1
            return True
        _log.warning("item %d is put aside, for it was refused: %s", first_seq, detail)
        await self._buffer.refuse(first_seq, detail)
        self._suspect_to = None
        self._put_aside += 1
        return True

    def _note(self, err: GatehouseError) -> None:
        """Count every failure; say it when it is another than the last."""
        kind = _kind(err)
        self.state.failures[kind] = self.state.failures.get(kind, 0) + 1
        if kind != self._last_kind:
            _log.warning("nothing reaches the collector; readings are kept: %s", err)
        self._last_kind = kind
        self.state.problem = str(err)
        self.state.needs_a_human = isinstance(err, NeedsAHuman | CollectorNotTrusted)

    def _note_success(self) -> None:
        if self.state.problem:
            _log.info("the collector accepts batches again")
        self.state.problem, self.state.needs_a_human = "", False
        self.state.delivered_batches += 1
        self.state.last_receipt_ms = self._clock.now_ms()
        self._put_aside = 0
        self._backoff.reset()
        self._last_kind = ""


def _kind(err: GatehouseError) -> str:
    if isinstance(err, CollectorRefused):
        return err.code or f"status-{err.status}"
    if isinstance(err, CollectorNotTrusted):
        return err.reason
    names = {
        CollectorBusy: "busy",
        CollectorUnreachable: "unreachable",
        CannotSeal: "cannot-seal",
        ForeignReceipt: "foreign-receipt",
        TimeUnknown: "time-unknown",
        BufferUnavailable: "buffer",
    }
    return names.get(type(err), "other")
