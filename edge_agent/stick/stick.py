"""Seals all that waits for a collector, and acts on what the collector says of it.

It writes the buffer, so it works inside the agent; or in a command, where no agent runs.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from edge_agent.buffer.contract import Batch, Buffer, Cut, Outbox, OutOfOrder
from edge_agent.identity.certificates import CertificateUnusable
from edge_agent.identity.folder import Identity, adopt_collector_key
from edge_agent.stick.memory import Memory, Suspect
from edge_agent.timekeeper import Timekeeper
from edge_agent.uplink.sealer import CannotSeal, Sealer, Sender, TimeUnknown
from models.envelope import is_intact
from models.protocol import Code, CollectorKeyOffer
from models.stick import Outcome, Statement, verify_statement

MOST_AT_ONCE: Final = 50  # batches, in about two seconds: who waits sees how it goes on

_POISONED: Final = frozenset({Code.MALFORMED, Code.TOO_LARGE})
"""Refusals that may be the fault of one item."""

_log = logging.getLogger(__name__)


class SealedUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done so that all can be carried."""

    gateway_id: str
    until: int  # the number up to which it is done; what comes later waits for the next stick
    is_done: bool
    batches: int = 0  # made just now
    left: int = 0  # items in no batch
    again: list[tuple[int, int]] = []  # numbers of items that the collector has lost
    problem: str = ""  # why some items are in no batch


class Settled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one statement of a collector."""

    delivered: int = 0  # batches
    known: int = 0  # outcomes of batches that are not under way any more, or were never sent so
    refused: list[str] = []
    put_aside: int = 0  # items
    began_epoch: bool = False
    missing: int = 0  # ranges that are sent again with the next stick
    new_key: bool = False  # of the collector


class Stick:
    """For all collectors of one gateway."""

    def __init__(self, buffer: Buffer, timekeeper: Timekeeper) -> None:
        self._buffer, self._timekeeper = buffer, timekeeper
        self._lock = asyncio.Lock()  # two technicians

    async def seal(self, name: str, identity: Identity, *, max_items: int, until: int = 0) -> SealedUp:
        """Put what waits into batches, some of it; `until` is 0, and then what the answer before said.

        Raise BufferUnavailable, and CannotSeal when more than one item cannot be sealed.
        """
        async with self._lock:
            outbox = await self._buffer.outbox(name)
            await outbox.belong_to(identity.gateway_id)
            if not until:
                until = self._buffer.last_seq
                await self._withdraw_damaged(outbox)
            memory = await Memory.of(self._buffer, name)
            sealer = Sealer(
                outbox, Sender.of(identity), self._timekeeper.clock, self._timekeeper.boots.settled
            )
            made, problem, is_done = 0, "", False
            while made < MOST_AT_ONCE and not is_done:
                cut = await _next_cut(outbox, memory, max_items, until)
                if cut is None:
                    is_done = True
                    continue
                try:
                    await sealer.seal(cut)
                    made += 1
                except OutOfOrder:
                    continue  # the uplink has sealed it meanwhile
                except CannotSeal as err:
                    await _doubt(outbox, memory, cut.first_seq, len(cut.items), err)
                except TimeUnknown as err:
                    problem, is_done = str(err), True
            await memory.keep(self._buffer, name)
            return SealedUp(
                gateway_id=identity.gateway_id,
                until=until,
                is_done=is_done,
                batches=made,
                left=outbox.unsealed,
                again=[(span.first, span.last) for span in memory.missing_of(outbox.epoch)],
                problem=problem,
            )

    async def settle(self, name: str, identity: Identity, signed: bytes) -> Settled:
        """Act on what the collector has signed. The same again, however late, changes nothing.

        Raise StatementRefused, BufferUnavailable.
        """
        statement = verify_statement(
            signed, gateway_id=identity.gateway_id, public_key=identity.collector.command_key
        )
        async with self._lock:
            outbox = await self._buffer.outbox(name)
            await outbox.belong_to(identity.gateway_id)
            memory = await Memory.of(self._buffer, name)
            counted = await _Settling(outbox, memory).settle(statement)
            new_key = await _took_key(identity, statement)
            if statement.epoch:
                memory.take_missing(statement.epoch, statement.missing, statement.told_ms)
            await memory.keep(self._buffer, name)
            missing = len(memory.missing_of(outbox.epoch))
            return msgspec.structs.replace(counted, missing=missing, new_key=new_key)

    async def _withdraw_damaged(self, outbox: Outbox) -> None:
        number = 0
        while (batch := await outbox.pending(after=number)) is not None:
            number = batch.number
            if not is_intact(batch.body, batch.digest):
                _log.warning("batch %d was damaged on disk; it is sealed again", number)
                await outbox.withdraw(number)


class _Settling:
    """The outcomes of one statement, one after the other."""

    def __init__(self, outbox: Outbox, memory: Memory) -> None:
        self._outbox, self._memory = outbox, memory
        self._delivered = self._known = self._aside = 0
        self._refused: list[str] = []
        self._began_epoch = False

    async def settle(self, statement: Statement) -> Settled:
        accepted = [outcome for outcome in statement.outcomes if not outcome.code]
        refused = [outcome for outcome in statement.outcomes if outcome.code]
        for outcomes, act in ((accepted, self._deliver), (refused, self._refuse)):
            await self._each(outcomes, act)
        return Settled(
            delivered=self._delivered,
            known=self._known,
            refused=self._refused,
            put_aside=self._aside,
            began_epoch=self._began_epoch,
        )

    async def _each(self, outcomes: list[Outcome], act: Callable[[Batch, Outcome], Awaitable[None]]) -> None:
        for outcome in outcomes:
            batch = None
            if outcome.epoch == self._outbox.epoch:
                batch = await self._outbox.pending(after=outcome.number - 1)
            if batch is None or (batch.number, batch.digest) != (outcome.number, outcome.digest):
                self._known += 1
            else:
                await act(batch, outcome)

    async def _deliver(self, batch: Batch, outcome: Outcome) -> None:
        quarantined = max(0, min(outcome.quarantined, batch.items))
        if quarantined:
            _log.warning(
                "the collector put %d items aside, the first because: %s", quarantined, outcome.detail
            )
        receipt = msgspec.json.encode({**_shown(outcome), "carried": "stick"}).decode()
        await self._outbox.deliver(batch.number, quarantined=quarantined, receipt=receipt)
        self._delivered += 1
        self._memory.put_aside = False

    async def _refuse(self, batch: Batch, outcome: Outcome) -> None:
        self._refused.append(f"batch {batch.number}: {outcome.code}: {outcome.detail}")
        if outcome.code == Code.CHAIN_BROKEN:
            _log.warning("the collector holds other content under our numbers; a new epoch begins")
            await self._outbox.begin_epoch()  # what else is said of the old one means nothing any more
            self._began_epoch = True
            return
        if outcome.code not in _POISONED:
            return  # it is for people to do something; the batch waits
        first, count = batch.first_seq, batch.count
        if outcome.bad_seq is not None and batch.first_seq <= outcome.bad_seq <= batch.last_seq:
            first, count = outcome.bad_seq, 1
        if count > 1:
            await self._outbox.withdraw(batch.number)
            self._memory.suspect(first, count)
        elif not self._memory.put_aside:
            await self._outbox.withdraw(batch.number)
            _log.warning("item %d is put aside, for it was refused: %s", first, outcome.detail)
            await self._outbox.refuse(first, outcome.detail)
            self._memory.put_aside = True
            self._aside += 1


async def _next_cut(outbox: Outbox, memory: Memory, max_items: int, until: int) -> Cut | None:
    """What is suspected goes first, in batches of its own."""
    while memory.suspects:
        suspect = memory.suspects[0]
        first = await outbox.cut(1, after=suspect.first - 1)
        if first is not None and first.first_seq <= suspect.last:
            most = min(suspect.piece, suspect.last - first.first_seq + 1)
            return await outbox.cut(most, after=suspect.first - 1)
        memory.suspects.pop(0)
    cut = await outbox.cut(max_items)
    return cut if cut is not None and cut.first_seq <= until else None


async def _doubt(outbox: Outbox, memory: Memory, first_seq: int, count: int, err: CannotSeal) -> None:
    if count > 1:
        memory.suspects.insert(0, Suspect(first_seq, first_seq + count - 1, -(-count // 2)))
        return
    if memory.put_aside:
        raise err
    await outbox.refuse(first_seq, err.detail)
    memory.put_aside = True


async def _took_key(identity: Identity, statement: Statement) -> bool:
    offer = statement.key
    if offer is None or offer.collector_key == base64.b64encode(identity.collector.collector_key).decode():
        return False
    try:
        await asyncio.to_thread(
            adopt_collector_key,
            identity,
            CollectorKeyOffer(
                suite=offer.suite,
                collector_key=offer.collector_key,
                collector_key_proof=offer.collector_key_proof,
            ),
        )
    except (CertificateUnusable, OSError) as err:
        _log.error("the collector names another key, which is not taken: %s", err)
        return False
    return True


def _shown(outcome: Outcome) -> dict[str, object]:
    return {
        "epoch": outcome.epoch.hex(),
        "number": outcome.number,
        "digest": outcome.digest.hex(),
        "quarantined": outcome.quarantined,
        "detail": outcome.detail,
    }
