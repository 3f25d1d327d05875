"""Takes in what came on a stick, by the same intake as what comes by a network, and tells what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import msgspec

from collector.intake.refusals import Refused
from collector.intake.service import Intake
from models.command import CommandKey
from models.envelope import EnvelopeRefused, envelope_digest, package_key_id, read_header
from models.protocol import Code, CollectorKeyOffer, Receipt
from models.stick import (
    MOST_DETAIL,
    MOST_MISSING,
    MOST_OUTCOMES,
    Envelope,
    KeyOffer,
    Manifest,
    Outcome,
    Package,
    Statement,
    StickUnreadable,
    read_batches,
    sign_statement,
)

AT_ONCE_BATCHES: Final = 8  # which share a commit, and with it a wait for the disk
AT_ONCE_BYTES: Final = 16 << 20

_NOBODY = Manifest(gateway_id="", collector="", made_ms=0)


@dataclass(slots=True)
class Taken:
    """What came of one file."""

    manifest: Manifest = _NOBODY
    batches: int = 0
    stored: int = 0
    already: int = 0  # were stored before
    quarantined: int = 0  # items of those that were stored now
    refused: dict[str, int] = field(default_factory=dict)  # batches and key packages, by code
    first_refusal: str = ""
    damage: str = ""  # why the file was not read to its end

    @property
    def is_good(self) -> bool:
        return not self.refused and not self.damage


class StickIntake:
    """One file after the other. Each batch is verified by itself, whatever the file says."""

    def __init__(
        self,
        intake: Intake,
        key: CommandKey,
        offer: Callable[[str], Awaitable[CollectorKeyOffer]],
        now_ms: Callable[[], int],
    ) -> None:
        """`offer` says what a gateway is to seal content keys to from now on."""
        self._intake, self._key, self._offer, self._now_ms = intake, key, offer, now_ms

    async def take(
        self, file: BinaryIO, tell: Callable[[bytes], None], *, on_read: Callable[[int], None]
    ) -> Taken:
        """Take in all that is whole; `tell` gets signed statements, each after the commit of what it tells.

        `on_read` is called with how many bytes have been dealt with. Raise IntakeBusy when nothing can be
        stored; what was stored before is told the next time.
        """
        taken = Taken()
        one = _File(self._intake, taken)
        teller = _Teller(one, self._key, self._offer, self._now_ms, tell)
        try:
            for record in read_batches(file):
                match record:
                    case Manifest():
                        taken.manifest = record
                    case Package():
                        await one.take_package(record.body)
                    case Envelope():
                        taken.batches += 1
                        one.add(record.body)
                        if one.is_full:
                            await teller.add(await one.take_waiting())
                            on_read(file.tell())
                if Code.REVOKED in taken.refused:
                    break  # nothing of this gateway is taken, and it is written down already
        except StickUnreadable as err:
            taken.damage = str(err)
        await teller.add(await one.take_waiting())
        await teller.finish()
        on_read(file.tell())
        return taken


class _File:
    """The batches of one file on their way into the intake, a few at a time."""

    def __init__(self, intake: Intake, taken: Taken) -> None:
        self._intake, self._taken = intake, taken
        self.newest: Receipt | None = None  # of the commit that came last: it knows best what is missing
        self._waiting: list[bytes] = []
        self._bytes = 0

    @property
    def gateway_id(self) -> str:
        return self._taken.manifest.gateway_id

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= AT_ONCE_BATCHES or self._bytes >= AT_ONCE_BYTES

    def add(self, body: bytes) -> None:
        self._waiting.append(body)
        self._bytes += len(body)

    async def take_package(self, package: bytes) -> None:
        try:
            await self._intake.accept_key(package, package_key_id(package), self.gateway_id)
        except (EnvelopeRefused, Refused) as err:
            self._note(err.code, f"a content key: {err.detail}")

    async def take_waiting(self) -> list[Outcome]:
        bodies, self._waiting, self._bytes = self._waiting, [], 0
        if Code.REVOKED in self._taken.refused:
            return []
        told = await asyncio.gather(*(self._take(body) for body in bodies))
        return [one for one in told if one is not None]

    async def _take(self, body: bytes) -> Outcome | None:
        try:
            header, digest = read_header(body), envelope_digest(body)
        except EnvelopeRefused as err:
            await self._intake.note_refusal(self.gateway_id, err.code, err.detail)
            self._note(err.code, err.detail)
            return None  # nobody knows which batch that was
        outcome = Outcome(epoch=header.epoch, number=header.number, digest=digest)
        try:
            receipt = await self._intake.accept(body, self.gateway_id)
        except Refused as err:
            self._note(err.code, f"batch {header.number}: {err.detail}")
            return msgspec.structs.replace(outcome, code=err.code, detail=err.detail[:MOST_DETAIL])
        self.newest = receipt
        if receipt.already:
            self._taken.already += 1
        else:
            self._taken.stored += 1
            self._taken.quarantined += len(receipt.quarantined)
        if receipt.quarantined:
            reason = receipt.quarantined[0].reason[:MOST_DETAIL]
            outcome = msgspec.structs.replace(outcome, quarantined=len(receipt.quarantined), detail=reason)
        return outcome

    def _note(self, code: str, detail: str) -> None:
        self._taken.refused[code] = self._taken.refused.get(code, 0) + 1
        self._taken.first_refusal = self._taken.first_refusal or f"{code}: {detail}"


class _Teller:
    """Gathers outcomes into statements."""

    def __init__(
        self,
        file: _File,
        key: CommandKey,
        offer: Callable[[str], Awaitable[CollectorKeyOffer]],
        now_ms: Callable[[], int],
        tell: Callable[[bytes], None],
    ) -> None:
        self._file, self._key, self._offer = file, key, offer
        self._now_ms, self._tell = now_ms, tell
        self._outcomes: list[Outcome] = []
        self._has_offered = False

    async def add(self, outcomes: Sequence[Outcome]) -> None:
        self._outcomes += outcomes
        while len(self._outcomes) >= MOST_OUTCOMES:
            await self._state(self._outcomes[:MOST_OUTCOMES])
            del self._outcomes[:MOST_OUTCOMES]

    async def finish(self) -> None:
        if self._outcomes:
            await self._state(self._outcomes)
        self._outcomes = []

    async def _state(self, outcomes: list[Outcome]) -> None:
        newest, offer = self._file.newest, None
        if newest is not None and not self._has_offered:
            offer, self._has_offered = await self._offer(self._file.gateway_id), True
        statement = Statement(
            gateway_id=self._file.gateway_id,
            told_ms=self._now_ms(),
            outcomes=outcomes,
            epoch=b"" if newest is None else bytes.fromhex(newest.epoch),
            missing=[] if newest is None else newest.missing[:MOST_MISSING],
            key=None if offer is None else KeyOffer(**offer.model_dump()),
        )
        self._tell(sign_statement(statement, self._key))
