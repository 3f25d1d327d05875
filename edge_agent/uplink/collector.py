"""One collector of this gateway: from waiting for an identity to the last upload."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from drivers.waiting import first_of
from edge_agent.buffer.contract import Batch, Buffer, BufferUnavailable, Outbox
from edge_agent.config.collectors import CollectorSettings
from edge_agent.identity.folder import (
    EXPIRED,
    Identity,
    IdentityDamaged,
    NotEnrolled,
    identity_stamp,
    load_identity,
)
from edge_agent.identity.keeper import CertificateKeeper, KeeperState, Way
from edge_agent.secret_files import SecretUnusable
from edge_agent.status import CollectorStatus, by_stick
from edge_agent.supervision import supervised
from edge_agent.timekeeper import Timekeeper
from edge_agent.uplink import returning
from edge_agent.uplink.carrier import Carrier
from edge_agent.uplink.carriers import make_carrier, proxy_of
from edge_agent.uplink.changeover import Changeover
from edge_agent.uplink.delivery import Pace, Uplink, UplinkState
from edge_agent.uplink.key_watch import KeyWatch
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.protocol import Code, NextKeyRequest, ReturnResponse
from models.reading import Event

LAST_UPLOAD_S: Final = 2.0  # in real time; see `edge_agent.app`
LOOK_FOR_IDENTITY_S: Final = 5.0  # a technician who has just enrolled waits for the first batch
LOOK_AGAIN_S: Final = 60.0  # in real time, at a file that could not be used

_log = logging.getLogger(__name__)

Service = Callable[[Identity, Questions], Awaitable[None]]
"""What else is done with a collector while there is a connection; it never ends by itself."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all collectors of one agent share."""

    state_dir: Path
    buffer: Buffer
    timekeeper: Timekeeper
    judges_certificates: bool = False  # by the agent's time; else the system clock does
    rng: random.Random | None = None  # for what is spread over gateways in time


class Collector:
    """`run` returns after the last upload, which begins when `ended` is set.

    Nothing in it makes a poll wait.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        shared: Shared,
        *,
        ended: asyncio.Event,
        on_delivered: Callable[[Batch, float], None] = lambda batch, seconds: None,
        on_answer: Callable[[float], None] = lambda asked_s: None,
        services: Sequence[Service] = (),
    ) -> None:
        """`on_answer` is as `Questions` has it."""
        self.name = settings.name
        self._settings, self._shared, self._ended = settings, shared, ended
        self._on_delivered, self._on_answer, self._services = on_delivered, on_answer, services
        self._identity: Identity | None = None
        self._obstacle = ""  # why there is no connection at all
        self._keeper: CertificateKeeper | None = None
        self._uplink: Uplink | None = None
        self._another_way = asyncio.Event()

    async def run(self) -> None:
        await supervised(self._belong, self._ended)

    def use(self, settings: CollectorSettings) -> None:
        """Where they are others: a new connection, by these. What waits to be sent, waits for it."""
        if settings != self._settings:
            self._settings = settings
            self._another_way.set()

    def hurry(self) -> None:
        """Send what is there now, for somebody waits for it."""
        if self._uplink is not None:
            self._uplink.hurry()

    @property
    def failures(self) -> dict[str, int]:
        """Failed attempts to send, by kind of failure."""
        return {} if self._uplink is None else self._uplink.state.failures

    @property
    def certificate_ends_s(self) -> float | None:
        """When the certificate ends, since 1970; None while there is none."""
        return None if self._identity is None else self._identity.expires.timestamp()

    def status(self) -> CollectorStatus:
        identity, state = self._identity, self._uplink.state if self._uplink is not None else UplinkState()
        if identity is None:
            return CollectorStatus(state="not-enrolled", problem=self._obstacle, needs_a_human=True)
        kept = KeeperState() if self._keeper is None else self._keeper.state
        problem = self._obstacle or state.problem
        if self._settings.carrier == "stick":
            return by_stick(identity)
        if kept.code or (state.problem and identity.has_expired):
            problem = kept.problem or EXPIRED
        return CollectorStatus(
            carrier=self._settings.carrier,
            state="failing" if problem else "ok",
            problem=problem,
            needs_a_human=state.needs_a_human
            or kept.needs_a_human
            or bool(self._obstacle)
            or problem == EXPIRED,
            certificate_problem=kept.problem,
            return_code=kept.code,
            gateway_id=identity.gateway_id,
            url=self._settings.broker or identity.collector.url,
            certificate_expires=identity.expires.isoformat(),
            delivered_batches=state.delivered_batches,
            last_receipt_ms=state.last_receipt_ms,
        )

    async def _belong(self) -> None:
        """Send with the identity that is on disk until another is there, or until the last upload."""
        shared = self._shared
        self._another_way.clear()
        stamp = identity_stamp(shared.state_dir, self.name)
        self._identity, self._uplink, self._keeper = None, None, None
        try:
            self._identity = identity = await asyncio.to_thread(load_identity, shared.state_dir, self.name)
            if self._settings.carrier == "stick":
                self._obstacle = ""
                await first_of(self._another(stamp), self._ended.wait())
                return
            carrier = make_carrier(identity, self._settings, self._certificates_at_s())
        except (NotEnrolled, IdentityDamaged, SecretUnusable) as err:
            if str(err) != self._obstacle:
                _log.warning("readings are kept but not sent: %s", err)
            self._obstacle = str(err)
            await first_of(self._another(stamp), self._ended.wait(), asyncio.sleep(LOOK_AGAIN_S))
            return
        self._obstacle = ""
        changeover = Changeover(carrier)
        try:
            questions = self._questions(changeover, identity)
            outbox = await shared.buffer.outbox(self.name)
            self._uplink = uplink = self._make_uplink(identity, questions, outbox)
            self._keeper = keeper = self._make_keeper(identity, questions, changeover, uplink)
            services = [
                supervised(partial(service, identity, questions), self._ended) for service in self._services
            ]
            await first_of(uplink.run(), keeper.run(), self._another(stamp), self._ended.wait(), *services)
            if self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_UPLOAD_S):
                        await uplink.flush()
        finally:
            await changeover.close()

    def _questions(self, carrier: Carrier, identity: Identity) -> Questions:
        clock = self._shared.timekeeper.clock
        return Questions(
            carrier,
            identity,
            clock.now_ms,
            monotonic_s=clock.monotonic_s,
            on_answer=self._on_answer,
        )

    def _make_keeper(
        self, identity: Identity, questions: Questions, changeover: Changeover, uplink: Uplink
    ) -> CertificateKeeper:
        @contextlib.asynccontextmanager
        async def shown(following: Identity) -> AsyncIterator[Callable[[Identity], None]]:
            async with contextlib.AsyncExitStack() as until_used:
                carrier = make_carrier(following, self._settings, self._certificates_at_s())
                until_used.push_async_callback(carrier.close)
                await self._questions(carrier, following).ask_time()

                def go_on_with(adopted: Identity) -> None:
                    until_used.pop_all()
                    self._identity = adopted
                    changeover.change(carrier)
                    uplink.sign_with(adopted.envelope_key)

                yield go_on_with

        async def ask_to_return(request: NextKeyRequest) -> ReturnResponse:
            return await returning.ask_to_return(
                identity,
                request,
                certificates_at_s=self._certificates_at_s(),
                proxy=proxy_of(self._settings),
            )

        return CertificateKeeper(
            identity,
            Way(questions.renew, ask_to_return, shown),
            name=self.name,
            clock=self._shared.timekeeper.clock,
            now_s=self._certificates_at_s() or time.time,
            is_said_to_have_ended=lambda: uplink.state.kind == Code.CERTIFICATE_ENDED,
            tell=self._tell,
            rng=self._shared.rng,
        )

    async def _tell(self, event: Event) -> None:
        with contextlib.suppress(BufferUnavailable):  # it stands in the log too
            await self._shared.buffer.append([event])

    async def _another(self, stamp: tuple[int, int] | None) -> None:
        """Return when there is another identity, or another way to the collector."""
        await first_of(self._another_identity(stamp), self._another_way.wait())

    async def _another_identity(self, stamp: tuple[int, int] | None) -> None:
        """Return when `edge-agent enroll` has been at work."""
        while identity_stamp(self._shared.state_dir, self.name) == stamp:  # noqa: ASYNC110  # a file rings no bell
            await asyncio.sleep(LOOK_FOR_IDENTITY_S)

    def _certificates_at_s(self) -> Callable[[], float | None] | None:
        timekeeper = self._shared.timekeeper

        def now_s() -> float | None:
            return timekeeper.clock.now_ms() / 1000 if timekeeper.is_set else None

        return now_s if self._shared.judges_certificates else None

    def _make_uplink(self, identity: Identity, questions: Questions, outbox: Outbox) -> Uplink:
        settings = self._settings
        return Uplink(
            self._shared.buffer,
            outbox,
            questions,
            Sender.of(identity),
            Pace(
                live_every_s=settings.live_every_s,
                max_items=settings.max_items,
                backlog_per_s=settings.backlog_per_s,
            ),
            clock=self._shared.timekeeper.clock,
            timekeeper=self._shared.timekeeper,
            on_delivered=self._on_delivered,
            on_receipt=KeyWatch(identity, questions).look_at,
        )
