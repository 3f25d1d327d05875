"""Keeps the certificate of one identity good: renews it in time; asks to be taken back when it has ended."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

from edge_agent.identity import next_key
from edge_agent.identity.certificates import CertificateUnusable, next_key_request
from edge_agent.identity.folder import EXPIRED, Identity
from edge_agent.uplink.backoff import Backoff
from models.errors import GatehouseError, NeedsAHuman, RetryLater
from models.protocol import NextKeyRequest, ReturnResponse
from models.reading import GATEWAY, Event
from models.signing import key_bytes, key_code
from models.times import Clock

RENEWED_FROM: Final = 0.66  # of its life
RENEWED_TO: Final = 0.76  # between the two lies each gateway's own time, so that they do not come together
WARNED_FROM: Final = 0.85  # of its life: renewal has failed for long, and there is still time to see why
LOOK_EVERY_S: Final = 60.0  # for the time may be set, and a collector may say that the certificate has ended
FIRST_RETURN_PAUSE_S: Final = 5.0  # an operator who waits for it sees it soon
LONGEST_RETURN_PAUSE_S: Final = 120.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class DiskRefuses(RetryLater):
    """The next key cannot be kept, so it is not used."""

    def __init__(self, err: OSError) -> None:
        super().__init__(f"{err.filename or 'the state folder'}: {err.strerror}; look at the disk")


@dataclass(frozen=True, slots=True)
class Way:
    """How the keeper reaches the collector. All raise RetryLater or NeedsAHuman."""

    renew: Callable[[NextKeyRequest], Awaitable[str]]
    """The certificate (PEM), asked for with the present one."""

    ask_to_return: Callable[[NextKeyRequest], Awaitable[ReturnResponse]]
    """What has been decided, asked for without any."""

    shown: Callable[[Identity], AbstractAsyncContextManager[Callable[[Identity], None]]]
    """Is entered once the collector has accepted that identity. What it gives is called inside, with the
    identity as adopted, to go on with it alone; without that call nothing changes."""


@dataclass(slots=True)
class KeeperState:
    """What people are told."""

    problem: str = ""
    needs_a_human: bool = False
    code: str = ""  # of the key with which it asks to be taken back
    renewed: int = 0


class CertificateKeeper:
    """`run` returns when the gateway was taken back: all connections must then begin anew."""

    def __init__(
        self,
        identity: Identity,
        way: Way,
        *,
        name: str,
        clock: Clock,
        now_s: Callable[[], float | None],
        is_said_to_have_ended: Callable[[], bool] = lambda: False,
        tell: Callable[[Event], Awaitable[None]],
        rng: random.Random | None = None,
    ) -> None:
        """`name` is that of the collector; `now_s` the real time, None while it is unknown."""
        self.identity = identity
        self.state = KeeperState()
        self._way, self._name, self._clock, self._now_s = way, name, clock, now_s
        self._is_said_to_have_ended = is_said_to_have_ended
        self._tell = tell
        self._rng = rng or random.Random()  # noqa: S311  # spreads gateways in time, keeps no secret
        self._backoff = Backoff(self._rng)
        self._share = self._rng.uniform(RENEWED_FROM, RENEWED_TO)
        self._is_warned = False

    async def run(self) -> None:
        while True:
            now_s = self._now_s()
            if now_s is not None and (now_s > _ends_s(self.identity) or self._is_said_to_have_ended()):
                await self._return()
                return
            if now_s is None or now_s < self._due_s():
                await self._clock.sleep(LOOK_EVERY_S if now_s is None else self._pause_s(now_s))
                continue
            try:
                await self._renew()
            except (RetryLater, NeedsAHuman) as err:
                await self._failed(err, now_s)
            else:
                self.state = KeeperState(renewed=self.state.renewed + 1)
                self._share, self._is_warned = self._rng.uniform(RENEWED_FROM, RENEWED_TO), False
                self._backoff.reset()

    def _due_s(self) -> float:
        begins_s, ends_s = _begins_s(self.identity), _ends_s(self.identity)
        return begins_s + self._share * (ends_s - begins_s)

    def _pause_s(self, now_s: float) -> float:
        return min(LOOK_EVERY_S, max(self._due_s() - now_s, 0.001))

    async def _renew(self) -> None:
        present = self.identity
        following = await _on_disk(next_key.kept, present)
        if following is None or _ends_s(following) <= (self._now_s() or 0.0):
            key = await _on_disk(next_key.next_key, present)
            request = next_key_request(present.gateway_id, present.signing_key, key)
            following = await self._take(await self._way.renew(request))
        await self._go_on_with(following)
        ends = following.expires.isoformat()
        _log.info("the certificate for %s is renewed; it is good until %s", self._name, ends)
        await self._say("certificate.renewed", ends=ends)

    async def _take(self, certificate_pem: str) -> Identity:
        """Keep what came. One that is of no use any more was asked for long ago: begin anew."""
        try:
            following = await _on_disk(next_key.keep_certificate, self.identity, certificate_pem)
        except CertificateUnusable:
            await _on_disk(next_key.forget, self.identity)
            raise
        now_s = self._now_s()
        if now_s is not None and not _begins_s(following) <= now_s < _ends_s(following):
            await _on_disk(next_key.forget, self.identity)
            raise CertificateUnusable(
                f"{self.identity.collector.url}: sent a certificate that is not in its time; "
                "compare the clocks of both"
            )
        return following

    async def _go_on_with(self, following: Identity) -> None:
        async with self._way.shown(following) as go_on_with:
            self.identity = await _on_disk(next_key.adopt, self.identity, following)
            go_on_with(self.identity)

    async def _failed(self, err: GatehouseError, now_s: float) -> None:
        begins_s, ends_s = _begins_s(self.identity), _ends_s(self.identity)
        if now_s >= begins_s + WARNED_FROM * (ends_s - begins_s):
            ends = self.identity.expires.isoformat()
            self.state.problem = f"the certificate ends at {ends} and cannot be renewed: {err}"
            self.state.needs_a_human = True
            if not self._is_warned:
                self._is_warned = True
                _log.error("%s", self.state.problem)
                await self._say("certificate.ending", ends=ends, detail=str(err))
        elif not self.state.problem:
            self.state.problem = f"the certificate cannot be renewed yet: {err}"
            _log.warning("%s", self.state.problem)
        await self._clock.sleep(min(self._backoff.pause_s(err), max((ends_s - now_s) / 10, 1.0)))

    async def _return(self) -> None:
        """Ask until a person has approved, and the collector accepts what came of it."""
        _log.error("%s", EXPIRED)
        await self._say("certificate.ended", ended=self.identity.expires.isoformat())
        longest_s = FIRST_RETURN_PAUSE_S
        while True:
            try:
                if await self._is_taken_back():
                    _log.info("the collector %s has taken this gateway back", self._name)
                    await self._say("certificate.renewed", ends=self.identity.expires.isoformat())
                    return
                pause_s = self._rng.uniform(0.5, 1.0) * longest_s
                longest_s = min(2 * longest_s, LONGEST_RETURN_PAUSE_S)
                self._backoff.reset()
            except (RetryLater, NeedsAHuman) as err:
                pause_s = self._backoff.pause_s(err)
                self._tell_why_not(err)
            await self._clock.sleep(pause_s)

    async def _is_taken_back(self) -> bool:
        key = await _on_disk(next_key.next_key, self.identity)
        code = key_code(key_bytes(key.public_key()))
        if self.state.code != code:
            self.state.code = code
            _log.error("somebody must approve: collector gateways approve %s", code)
        request = next_key_request(self.identity.gateway_id, self.identity.signing_key, key)
        answer = await self._way.ask_to_return(request)
        if answer.state == "waiting":
            self.state.problem = (
                "its certificate has ended; it waits for approval: collector gateways approve "
                f"{code}, when the same code stands in collector gateways requests"
            )
            self.state.needs_a_human = True
            return False
        await self._go_on_with(await self._take(answer.certificate_pem))
        self.state = KeeperState()
        return True

    def _tell_why_not(self, err: GatehouseError) -> None:
        if str(err) not in self.state.problem:
            _log.warning("this gateway is not taken back yet: %s", err)
        self.state.problem = f"its certificate has ended, and it is not taken back yet: {err}"
        self.state.needs_a_human = True

    async def _say(self, kind: str, **data: object) -> None:
        now_ms = self._clock.now_ms()
        facts = {"collector": self._name, **data}
        await self._tell(
            Event(device_id=GATEWAY, kind=kind, data=facts, measured_ms=now_ms, received_ms=now_ms)
        )


async def _on_disk(work: Callable[..., T], *arguments: object) -> T:
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as err:
        raise DiskRefuses(err) from err


def _begins_s(identity: Identity) -> float:
    return identity.certificate.not_valid_before_utc.timestamp()


def _ends_s(identity: Identity) -> float:
    return identity.expires.timestamp()
