"""Hears what gateways ask by a broker, in turns with other collectors, and answers each at its own topic.

A question is acknowledged to the broker when it is taken up. Its answer is given after what it asks for is
done, a receipt after the commit: a collector that dies in between gives none, and the gateway asks again.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from starlette.types import ASGIApp

from collector.identity.home import Home
from collector.intake.dispatch import Answer, Question, dispatch
from models.envelope import MAX_ENVELOPE_BYTES
from models.mqtt import (
    ALL_QUESTIONS,
    CORRELATION_BYTES,
    METHOD,
    PATH,
    STATUS,
    may_answer_at,
    sender_of,
    told,
)

MOST_IN_HAND: Final = 128
"""Questions that are being answered; more than the intake has places, so that it says when it is busy."""

MOST_UNREAD: Final = 16  # of up to 8 MiB each, which the broker sends before others are taken up
WAITING: Final = "/gateway/v1/commands"  # questions that wait for an answer take no place from others
MOST_WAITING: Final = 10_000
"""Of those, one for each gateway: its next question ends the one before."""


STEP_LIMIT_S: Final = 10.0
KEEPALIVE_S: Final = 15
LONGEST_PAUSE_S: Final = 30.0

_quiet = logging.getLogger(f"{__name__}.library")
_quiet.setLevel(logging.CRITICAL)  # it logs each loss of a connection, which we do once
_log = logging.getLogger(__name__)


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the other side turns out not to be who it should be: the library forgets to."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class BrokerDoor:
    """`run` until `close`; what it has begun is then finished. A broker that has gone is looked for again."""

    def __init__(
        self,
        app: ASGIApp,
        broker: str,
        home: Home,
        *,
        group: str,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`broker` is mqtts://host:port; it must have a certificate of the collector's own authority.

        `group` is known to the collectors that take turns and to nobody else: Mosquitto would give a gateway
        that subscribes to their group its turn too, and drop what it may not read.
        """
        self.name = "mqtt"
        self.is_alive = True
        self.is_listening = False
        self._app, self._broker, self._home, self._group, self._sleep = app, broker, home, group, sleep
        self._rng = rng or random.Random()  # noqa: S311  # spreads collectors in time, keeps no secret
        self._closing = asyncio.Event()
        self._in_hand, self._waiting = asyncio.Semaphore(MOST_IN_HAND), asyncio.Semaphore(MOST_WAITING)
        self._answering: set[asyncio.Task[None]] = set()
        self._problem = ""

    async def run(self) -> None:
        failures = 0
        try:
            while not self._closing.is_set():
                try:
                    await self._serve()
                except (aiomqtt.MqttError, OSError) as err:
                    failures = 0 if self.is_listening else failures + 1
                    self.is_listening = False
                    self._say(str(err))
                    longest_s = min(LONGEST_PAUSE_S, 2.0**failures)
                    await self._unless_closing(self._sleep(self._rng.uniform(0.1, longest_s)))
        except Exception:
            self.is_alive = False
            _log.exception("nothing is taken by MQTT any more: start the collector again, and report this")
        finally:
            self.is_listening = False
            await self._finish()

    def close(self) -> None:
        """Take up nothing more."""
        self._closing.set()

    async def _serve(self) -> None:
        """One connection, from its beginning to its end or ours."""
        client = await self._make_client()
        try:
            await client.__aenter__()
            try:
                granted: Any = await client.subscribe(f"$share/{self._group}/{ALL_QUESTIONS}", qos=1)
                if any(_code(code) >= 0x80 for code in granted):
                    raise aiomqtt.MqttError("the broker does not let us hear questions; look at its ACL")
                self.is_listening = True
                self._say("")
                await self._unless_closing(self._hear(client))
                await self._finish()  # before the connection ends, by which the answers go
            finally:
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
        finally:
            _close(client)

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if (asked := _asked(message)) is None:
                client._client.ack(message.mid, message.qos)
                continue
            places = self._waiting if asked.waits else self._in_hand
            await places.acquire()  # what is not acknowledged keeps the broker from sending more
            client._client.ack(message.mid, message.qos)
            task = asyncio.create_task(self._answer(client, asked), name="answer by MQTT")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            task.add_done_callback(partial(_give_back, places))

    async def _answer(self, client: aiomqtt.Client, asked: "_Asked") -> None:
        try:
            answer = await dispatch(self._app, asked.question)
        except Exception:
            _log.exception("a question by MQTT has failed; report this")
            answer = Answer(500, {}, b"")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.CorrelationData = asked.number
        properties.UserProperty = [(STATUS, str(answer.status)), *answer.headers.items()]
        # Without a connection it is not given, and the gateway asks again.
        client._client.publish(asked.answer_at, answer.body, 1, False, properties)

    async def _finish(self) -> None:
        if self._answering:
            await asyncio.wait(self._answering)

    async def _unless_closing(self, work: Awaitable[object]) -> None:
        closing, working = asyncio.ensure_future(self._closing.wait()), asyncio.ensure_future(work)
        try:
            await asyncio.wait([closing, working], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            for task in (closing, working):
                task.cancel()
            await asyncio.gather(closing, working, return_exceptions=True)

    async def _make_client(self) -> aiomqtt.Client:
        parts = urlsplit(self._broker)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = MOST_UNREAD
        properties.MaximumPacketSize = MAX_ENVELOPE_BYTES + 65_536
        client = aiomqtt.Client(
            parts.hostname or "",
            parts.port or 0,
            identifier=secrets.token_hex(16),  # nobody can guess it, and take the session over
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,  # a session that stays would be given its turn while nobody is there
            properties=properties,
            tls_context=await asyncio.to_thread(self._tls_context),
            timeout=STEP_LIMIT_S,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=MOST_IN_HAND,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            logger=_quiet,
        )
        client._client.manual_ack_set(True)
        client._client.connect_timeout = STEP_LIMIT_S
        return client

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._home.ca_certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._home.broker_client_certificate)
        context.sslsocket_class = _TidySocket
        return context

    def _say(self, problem: str) -> None:
        """Once when it begins and once when it ends."""
        if problem and not self._problem:
            _log.warning("nothing comes by MQTT from %s: %s", self._broker, problem)
        elif not problem:
            _log.info("listening to %s", self._broker)
        self._problem = problem


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    answer_at: str
    number: bytes

    @property
    def waits(self) -> bool:
        return self.question.method == "GET" and self.question.path.startswith(WAITING)


def _asked(message: aiomqtt.Message) -> _Asked | None:
    """What a message asks; None when nobody could be answered."""
    properties = message.properties
    gateway_id = sender_of(str(message.topic))
    answer_at = getattr(properties, "ResponseTopic", "")
    number = getattr(properties, "CorrelationData", b"")
    if gateway_id is None or not may_answer_at(answer_at, gateway_id) or len(number) != CORRELATION_BYTES:
        return None
    pseudo, headers = told(getattr(properties, "UserProperty", []))
    method, path = pseudo.get(METHOD, ""), pseudo.get(PATH, "")
    body = message.payload if isinstance(message.payload, bytes) and method != "GET" else b""
    return _Asked(Question(gateway_id, method, path, headers, body), answer_at, number)


def _give_back(places: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
    places.release()


def _code(reason: Any) -> int:
    return int(getattr(reason, "value", reason))


def _close(client: aiomqtt.Client) -> None:
    """Close the socket in any case, and look at why the connection ended: the library does neither."""
    if client._disconnected.done() and not client._disconnected.cancelled():
        client._disconnected.exception()
    if client._client.socket() is not None:
        client._client._sock_close()
