"""One higher collector: from waiting for an identity to sending what is shared, while this one serves."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from collector.forward.book import Book
from collector.forward.delivery import Delivery
from collector.forward.gateways import OurGateways
from collector.forward.place import NoUpstream, Place, proxy_of, upstream_of
from collector.forward.settings import UpstreamSection
from collector.identity.home import Home
from collector.identity.keyring import Keyring
from collector.store.engine import Store
from edge_agent.identity.folder import Identity
from edge_agent.identity.keeper import CertificateKeeper, KeeperState, Way
from edge_agent.secret_files import SecretUnusable
from edge_agent.tls import CollectorNotTrusted
from edge_agent.uplink.backoff import Backoff
from edge_agent.uplink.carrier import Carrier
from edge_agent.uplink.changeover import Changeover
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.key_watch import KeyWatch
from edge_agent.uplink.mqtt import MqttCarrier
from edge_agent.uplink.questions import CollectorRefused, Questions
from edge_agent.uplink.returning import ask_to_return
from models.errors import NeedsAHuman, RetryLater
from models.protocol import Code, NextKeyRequest, ReturnResponse
from models.reading import Event
from models.times import Clock

LOOK_EVERY_S: Final = 5.0  # at the identity: who has just enrolled waits for the first envelope
MATCH_EVERY_S: Final = 10.0  # at most; a gateway that was enrolled meanwhile misses nothing by it
HEARD_EVERY_S: Final = 60.0  # the other side sees that this one lives, though nothing is new
LONGEST_UNREACHABLE_S: Final = 20.0  # as of a gateway
MAIN: Final = "upstream"

_log = logging.getLogger(__name__)


class Upstream:
    """`run` never ends by itself. What waits is in the book; being killed costs at most a repetition."""

    name: Final = "upstream"

    def __init__(
        self,
        home: Home,
        store: Store,
        keyring: Keyring,
        section: UpstreamSection,
        *,
        now_ms: Callable[[], int],
        real_now_ms: Callable[[], int],
        rest_s: float,
        rng: random.Random | None = None,
    ) -> None:
        """`now_ms` is of the clock by which envelopes came here; `rest_s` is the pause when nothing waits."""
        self.is_alive = True
        self._place, self._folder = Place(home), home.folder
        self._store, self._keyring, self._section = store, keyring, section
        self._now_ms, self._rest_s = now_ms, rest_s
        self._clock = Clock(real_now_ms, time.monotonic, asyncio.sleep)
        self._rng = rng or random.Random()  # noqa: S311  # spreads collectors in time, keeps no secret
        self._problem, self._kind = "", ""
        self._keeper: CertificateKeeper | None = None
        self._delivery: Delivery | None = None
        self._told: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Before gateways are served, so that what is shared is so from the first envelope on."""
        with contextlib.suppress(NoUpstream):
            identity = await asyncio.to_thread(self._place.identity)
            await self._begin(Book(self._store, upstream_of(identity)))

    async def run(self) -> None:
        try:
            while True:
                await self._belong()
        except Exception:
            self.is_alive = False
            _log.exception("forwarding has stopped: start the collector again, and report this")

    async def _belong(self) -> None:
        """Send with the identity that is on disk until another is there."""
        stamp = self._place.stamp()
        try:
            identity = await asyncio.to_thread(self._place.identity)
            carrier = self._carrier(identity)
        except (NoUpstream, SecretUnusable) as err:
            await self._note(err)
            await asyncio.sleep(LOOK_EVERY_S)
            return
        changeover = Changeover(carrier)
        try:
            questions = self._questions(changeover, identity)
            book = Book(self._store, upstream_of(identity))
            self._delivery = delivery = Delivery(
                book,
                questions,
                OurGateways(self._store, self._keyring, identity),
                self._now_ms,
                KeyWatch(identity, questions).look_at,
                rng=self._rng,
            )
            self._keeper = keeper = self._make_keeper(identity, questions, changeover, delivery)
            await _until_one_ends(self._send(delivery), keeper.run(), self._another(stamp))
        finally:
            await changeover.close()

    async def _send(self, delivery: Delivery) -> None:
        backoff = Backoff(self._rng, longest_unreachable_s=LONGEST_UNREACHABLE_S)
        matched_s = heard_s = float("-inf")
        is_begun, sent = False, 0
        while True:
            try:
                if not is_begun:
                    await self._begin(delivery.book)
                    is_begun = True
                    await asyncio.sleep(self._rng.uniform(0, self._rest_s))
                now_s = time.monotonic()
                if not sent or now_s - matched_s >= MATCH_EVERY_S:
                    await delivery.book.match(self._section.share, now_ms=self._now_ms())
                    matched_s = now_s
                sent = await delivery.round()
                if sent:
                    heard_s = now_s
                elif now_s - heard_s >= HEARD_EVERY_S:
                    await delivery.questions.ask_time()
                    heard_s = now_s
            except (RetryLater, NeedsAHuman, OperationalError) as err:
                await self._note(err)
                await asyncio.sleep(backoff.pause_s(err))
                continue
            backoff.reset()
            await self._note(None)
            if not sent:
                await asyncio.sleep(self._rest_s)

    async def _begin(self, book: Book) -> None:
        since = self._section.since
        since_ms = None if since is None else round(since.timestamp() * 1000)
        await book.begin(self._section.share, since_ms=since_ms, now_ms=self._now_ms())
        await book.match(self._section.share, now_ms=self._now_ms())

    def _carrier(self, identity: Identity) -> Carrier:
        proxy = proxy_of(self._section, self._folder)
        if self._section.broker is not None:
            return MqttCarrier(identity, self._section.broker, proxy=proxy)
        return HttpsCarrier(identity, proxy=proxy)

    def _questions(self, carrier: Carrier, identity: Identity) -> Questions:
        return Questions(carrier, identity, self._clock.now_ms)

    def _make_keeper(
        self, identity: Identity, questions: Questions, changeover: Changeover, delivery: Delivery
    ) -> CertificateKeeper:
        @contextlib.asynccontextmanager
        async def shown(following: Identity) -> AsyncIterator[Callable[[Identity], None]]:
            async with contextlib.AsyncExitStack() as until_used:
                carrier = self._carrier(following)
                until_used.push_async_callback(carrier.close)
                await self._questions(carrier, following).ask_time()

                def go_on_with(adopted: Identity) -> None:
                    until_used.pop_all()
                    changeover.change(carrier)
                    delivery.gateways = OurGateways(self._store, self._keyring, adopted)

                yield go_on_with

        async def ask(request: NextKeyRequest) -> ReturnResponse:
            return await ask_to_return(identity, request, proxy=proxy_of(self._section, self._folder))

        async def tell(event: Event) -> None:
            _log.info("%s: %s", event.kind, event.data)

        return CertificateKeeper(
            identity,
            Way(questions.renew, ask, shown),
            name=MAIN,
            clock=self._clock,
            now_s=lambda: self._clock.now_ms() / 1000,
            is_said_to_have_ended=lambda: self._kind == Code.CERTIFICATE_ENDED,
            tell=tell,
            rng=self._rng,
        )

    async def _another(self, stamp: tuple[int, int] | None) -> None:
        """Return when somebody has enrolled again, or the higher collector has another key."""
        while self._place.stamp() == stamp:  # noqa: ASYNC110  # a file rings no bell
            await asyncio.sleep(min(LOOK_EVERY_S, self._rest_s))

    async def _note(self, err: Exception | None) -> None:
        """Say a trouble once, and its end; keep it where `collector upstream status` finds it."""
        kind = "" if err is None else _kind(err)
        if kind != self._kind:
            if err is None:
                _log.info("the higher collector accepts envelopes again")
            else:
                _log.warning("nothing is forwarded; what is shared is kept: %s", err)
        self._kind, self._problem = kind, "" if err is None else str(err)
        kept = KeeperState() if self._keeper is None else self._keeper.state
        blocked = {} if self._delivery is None else self._delivery.blocked
        state: dict[str, Any] = {
            "problem": self._problem or kept.problem,
            "needs_a_human": isinstance(err, NeedsAHuman | CollectorNotTrusted) or kept.needs_a_human,
            "return_code": kept.code,
            "not_taken": {gateway_id: block.why for gateway_id, block in blocked.items()},
        }
        if state != self._told:
            self._told = state
            with contextlib.suppress(OSError):  # a full disk shows elsewhere
                await asyncio.to_thread(self._place.tell, state)


def _kind(err: Exception) -> str:
    if isinstance(err, CollectorRefused):
        return err.code or f"status-{err.status}"
    return err.reason if isinstance(err, CollectorNotTrusted) else type(err).__name__


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one returns or raises; the others are cancelled, and waited for."""
    tasks = [asyncio.create_task(each, name="upstream") for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
