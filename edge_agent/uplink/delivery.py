"""Brings what is in the buffer to one collector: sends each envelope until it has a receipt."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from drivers.waiting import first_of
from edge_agent.buffer.contract import Batch, Buffer, BufferUnavailable, Outbox, OutOfOrder
from edge_agent.timekeeper import Timekeeper
from edge_agent.tls import CollectorNotTrusted, CollectorUnreachable
from edge_agent.uplink.backoff import Backoff
from edge_agent.uplink.lanes import Lanes
from edge_agent.uplink.questions import CollectorBusy, CollectorRefused, Questions, Told
from edge_agent.uplink.sealer import CannotSeal, Sealer, Sender, TimeUnknown
from edge_agent.uplink.suspects import Suspects
from models.envelope import Signer, is_intact
from models.errors import GatehouseError, NeedsAHuman, RetryLater
from models.protocol import Code, Receipt
from models.times import Clock

LONGEST_UNREACHABLE_S: Final = 20.0
"""With the network back, what is live is fresh within half a minute; asking who is away costs little."""

_log = logging.getLogger(__name__)

# Refusals that may be the fault of one item, with what a collector may answer that is not ours.
_POISONED_STATUS = frozenset({400, 413, 422})
_NOT_THE_ITEMS = frozenset({Code.BAD_SIGNATURE, Code.CANNOT_OPEN})


class ForeignReceipt(RetryLater):
    """The receipt is for something else than was sent; the batch counts as not delivered."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the receipt for batch {number} names other content than was sent")
        self.number = number


@dataclass(slots=True)
class UplinkState:
    """What people are told of the uplink."""

    problem: str = ""  # why nothing goes out just now; "" when all is well
    kind: str = ""  # of that problem
    needs_a_human: bool = False
    has_backlog: bool = False  # what has waited is sent behind what is live
    delivered_batches: int = 0
    sent_bytes: int = 0
    last_receipt_ms: int | None = None
    last_upload_s: float | None = None
    failures: dict[str, int] = field(default_factory=dict)  # by class of error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much is sent, and when."""

    live_every_s: float
    max_items: int  # in one batch
    backlog_per_s: float | None = None  # items of a backlog; None: as fast as that goes


class Uplink:
    """One collector. `run` never ends by itself; nothing in it makes a poll wait."""

    def __init__(
        self,
        buffer: Buffer,
        outbox: Outbox,
        questions: Questions,
        sender: Sender,
        pace: Pace,
        *,
        clock: Clock,
        timekeeper: Timekeeper | None = None,
        rng: random.Random | None = None,
        on_delivered: Callable[[Batch, float], None] = lambda batch, seconds: None,
        on_receipt: Callable[[Receipt], Awaitable[None]] | None = None,
    ) -> None:
        self.state = UplinkState()
        self._buffer, self._outbox, self._questions, self._clock = buffer, outbox, questions, clock
        self._gateway_id, self._pace = sender.gateway_id, pace
        self._timekeeper = timekeeper
        self._rng = rng or random.Random()  # noqa: S311  # spreads gateways in time, keeps no secret
        self._backoff = Backoff(self._rng, longest_unreachable_s=LONGEST_UNREACHABLE_S)
        self._hurried = asyncio.Event()
        self._on_delivered, self._on_receipt = on_delivered, on_receipt
        settle = (lambda items: items) if timekeeper is None else timekeeper.boots.settled
        self._sealer = Sealer(outbox, sender, clock, settle)
        self._suspects = Suspects(buffer, outbox)
        self._lanes = Lanes(
            buffer,
            outbox,
            clock,
            live_every_s=pace.live_every_s,
            max_items=pace.max_items,
            backlog_per_s=pace.backlog_per_s,
        )
        self._began_epoch = False  # since the last success

    async def run(self) -> None:
        """Send what there is every `live_every_s`, sooner when a batch is full, for ever.

        The first time comes at random: gateways of a district that had no power begin together.
        """
        await self._wait(self._rng.uniform(0, self._pace.live_every_s))
        while True:
            try:
                await self._send_all()
            except (RetryLater, NeedsAHuman) as err:
                self._note(err)
                await self._clock.sleep(self._backoff.pause_s(err))
            else:
                await self._wait(self._lanes.pause_s or self._pace.live_every_s)

    def hurry(self) -> None:
        """Send what is there now, for somebody waits for it; pauses after a failure are kept."""
        self._lanes.hurry()
        self._hurried.set()

    def sign_with(self, signing_key: Signer) -> None:
        """From the next batch on. What is sealed already keeps the signature of the key before."""
        self._sealer.sign_with(signing_key)

    async def flush(self) -> None:
        """Send all that is there, or as much as goes without a pause. For the end, when `run` has ended."""
        try:
            await self._send_all()
        except (RetryLater, NeedsAHuman) as err:
            self._note(err)

    async def _wait(self, seconds: float) -> None:
        ends = [self._clock.sleep(seconds), self._hurried.wait()]
        if not self._lanes.has_backlog:  # in which there is always enough for a batch
            ends.append(self._outbox.wait_unsealed(self._pace.max_items))
        await first_of(*ends)
        self._hurried.clear()

    async def _send_all(self) -> None:
        """Send what there is. What comes meanwhile waits for others, to share an envelope with them."""
        await self._outbox.belong_to(self._gateway_id)
        if self._timekeeper is not None and not self._timekeeper.is_set:
            await self._hear(await self._questions.ask_time())
        self._lanes.begin()
        while (batch := await self._next_batch()) is not None:
            try:
                receipt = await self._send(batch)
            except CollectorRefused as err:
                if not await self._remedied(batch, err):
                    raise
                continue
            await self._settle(batch, receipt)
            await self._send_again()

    async def _hear(self, told: Told | None) -> None:
        """Compare clocks with the collector."""
        if told is None or self._timekeeper is None:
            return
        if events := await self._timekeeper.told(told.collector_ms, asked_s=told.asked_s):
            await self._buffer.append(events)

    async def _next_batch(self) -> Batch | None:
        """The batch that is under way, or a new one."""
        while (batch := await self._outbox.pending()) is not None:
            if is_intact(batch.body, batch.digest):
                return batch
            _log.warning("batch %d was damaged on disk; it is sealed again", batch.number)
            await self._outbox.withdraw(batch.number)
        while (cut := await self._suspects.cut() or await self._lanes.next_cut()) is not None:
            try:
                return await self._sealer.seal(cut)
            except OutOfOrder:  # these went into a batch for a stick meanwhile, which is pending now
                return await self._next_batch()
            except CannotSeal as err:
                if not await self._suspects.divide(cut.first_seq, len(cut.items), err.detail):
                    raise
        return None

    async def _send(self, batch: Batch) -> Receipt:
        """The collector's receipt for exactly these bytes."""
        package, sent = await self._outbox.key_package(batch.key_id)
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
        await self._outbox.key_sent(key_id)

    async def _settle(self, batch: Batch, receipt: Receipt) -> None:
        quarantined = len(receipt.quarantined)
        if quarantined:
            first = receipt.quarantined[0]
            _log.warning("the collector put %d items aside, the first because: %s", quarantined, first.reason)
        await self._outbox.deliver(
            batch.number, quarantined=quarantined, receipt=receipt.model_dump_json(exclude={"missing"})
        )
        self._note_success()
        await self._hear(self._questions.heard)
        self._on_delivered(batch, self.state.last_upload_s or 0.0)
        self._lanes.miss(receipt.missing)
        if self._on_receipt is not None:
            await self._on_receipt(receipt)

    async def _send_again(self) -> None:
        """Give a collector that was restored from a backup what it had before, until what is live is due."""
        while not self._lanes.is_live_due and (batch := await self._lanes.next_again()) is not None:
            try:
                receipt = await self._send(batch)
            except CollectorRefused as err:
                _log.warning("batch %d, which the collector asked for, was refused: %s", batch.number, err)
            else:
                self._lanes.miss(receipt.missing)

    async def _remedied(self, batch: Batch, err: CollectorRefused) -> bool:
        """Whether something could be done about a refusal, so that there is sense in going on at once."""
        if err.code == Code.CHAIN_BROKEN and not self._began_epoch:
            # The collector knows these numbers otherwise: this store is an old copy of itself.
            _log.warning("the collector holds other content under our numbers; a new epoch begins")
            await self._outbox.begin_epoch()
            self._began_epoch = True
            return True
        if err.status not in _POISONED_STATUS or err.code in _NOT_THE_ITEMS:
            return False
        await self._outbox.withdraw(batch.number)
        if err.bad_seq is not None and batch.first_seq <= err.bad_seq <= batch.last_seq:
            return await self._suspects.divide(err.bad_seq, 1, err.detail)
        return await self._suspects.divide(batch.first_seq, batch.count, err.detail)

    def _note(self, err: GatehouseError) -> None:
        """Count every failure; say it when it is another than the last."""
        kind = _kind(err)
        self.state.failures[kind] = self.state.failures.get(kind, 0) + 1
        if kind != self.state.kind:
            _log.warning("nothing reaches the collector; readings are kept: %s", err)
        self.state.kind = kind
        self.state.problem = str(err)
        self.state.needs_a_human = isinstance(err, NeedsAHuman | CollectorNotTrusted)

    def _note_success(self) -> None:
        if self.state.problem:
            _log.info("the collector accepts batches again")
        self.state.problem, self.state.needs_a_human = "", False
        self.state.has_backlog = self._lanes.has_backlog
        self.state.delivered_batches += 1
        self.state.last_receipt_ms = self._clock.now_ms()
        self._suspects.note_success()
        self._began_epoch = False
        self._backoff.reset()
        self.state.kind = ""


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
