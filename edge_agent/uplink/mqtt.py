"""Carries questions over MQTT 5, by a broker that the collector's CA has certified.

Each question is published once, at QoS 1. What the broker has taken may still get lost with it or with the
collector: only an answer says that a question has arrived, and whoever asked asks again without one.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drivers.mqtt import QUIET, code_of, enter, leave, whole
from edge_agent.connection import open_tls
from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.tls import CollectorUnreachable, explain
from edge_agent.uplink.carrier import Answer, Request
from models.mqtt import CORRELATION_BYTES, METHOD, PATH, STATUS, answer_topic, question_topic, told
from models.protocol import PROBLEM, Code

CONNECT_LIMIT_S: Final = 10.0
STEP_LIMIT_S: Final = 4.0  # of the broker for an acknowledgement
REPLY_TIMEOUT_S: Final = 30.0
KEEPALIVE_S: Final = 15  # a connection that is half open is noticed within twice this
MOST_UNREAD: Final = 16  # answers that the broker sends ahead
MAX_ANSWER_BYTES: Final = 4 << 20
ROOM_FOR_HEADERS: Final = 1024  # bytes of a packet beside its body and path

_NOBODY_LISTENS: Final = 0x10
_PACKET_TOO_LARGE: Final = 0x95
_FAILURE: Final = 0x80


class MqttCarrier:
    """See `edge_agent.uplink.carrier.Carrier`."""

    def __init__(
        self,
        identity: Identity,
        broker: str,
        *,
        certificates_at_s: Callable[[], float | None] | None = None,
        proxy: Proxy | None = None,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
    ) -> None:
        """`broker` is mqtts://host:port; `certificates_at_s` is as in `edge_agent.tls`."""
        self.url = broker
        self._identity, self._proxy = identity, proxy
        self._certificates_at_s = certificates_at_s
        self._reply_timeout_s = reply_timeout_s
        self._context = identity.ssl_context(certificates_at_s)
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None
        self._is_closed = False

    async def exchange(self, request: Request) -> Answer:
        connection = await self._connected()
        answer = await connection.ask(request, self._reply_timeout_s + request.wait_s)
        is_time_known = self._certificates_at_s is None or self._certificates_at_s() is not None
        unjudged = None if is_time_known else connection.certificate
        return Answer(answer.status, answer.headers, answer.body, unjudged)

    async def close(self) -> None:
        self._is_closed = True
        async with self._connecting:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _connected(self) -> "_Connection":
        async with self._connecting:
            if self._connection is not None and self._connection.is_over:
                connection, self._connection = self._connection, None
                await connection.close()
            if self._is_closed:
                raise CollectorUnreachable(self.url, "this connection was closed here")
            if self._connection is None:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> "_Connection":
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or 0
        try:
            secured = await open_tls(host, port, self._context, proxy=self._proxy, limit_s=CONNECT_LIMIT_S)
        except TimeoutError as err:
            raise CollectorUnreachable(self.url, f"no connection within {CONNECT_LIMIT_S:g} s") from err
        except OSError as err:
            raise explain(self.url, err) from err
        certificate = secured.getpeercert() or {}
        try:
            connection = _Connection(self.url, self._identity.gateway_id, host, port, secured, certificate)
        except BaseException:
            secured.close()
            raise
        await connection.open()
        return connection


class _Connection:
    """One session at the broker, which ends with its connection. `open` once, `close` last."""

    def __init__(
        self, url: str, gateway_id: str, host: str, port: int, secured: Any, certificate: Mapping[str, Any]
    ) -> None:
        self.certificate = certificate
        self._url = url
        self._name = secrets.token_hex(16)  # nobody can guess it, and take the session over
        self._ask, self._answers = question_topic(gateway_id), answer_topic(gateway_id, self._name)
        self._waiting: dict[bytes, asyncio.Future[Answer]] = {}
        self._published: dict[int, bytes] = {}  # which question has which packet identifier
        self._broker_takes: int | None = None  # bytes
        self._client = _make_client(host, port, self._name)
        self._reading: asyncio.Task[None] | None = None
        paho = self._client._client
        paho._create_socket = lambda: secured  # type: ignore[method-assign]  # connected and verified by us
        on_connect, on_publish = paho.on_connect, paho.on_publish

        def connected(*of: Any) -> None:
            self._broker_takes = getattr(of[-1], "MaximumPacketSize", None)
            on_connect(*of)  # type: ignore[misc]

        def published(*of: Any) -> None:
            self._note_published(of[2], code_of(of[3]))
            on_publish(*of)  # type: ignore[misc]

        paho.on_connect, paho.on_publish = connected, published

    @property
    def is_over(self) -> bool:
        return self._reading is None or self._reading.done()

    async def open(self) -> None:
        try:
            await enter(self._client)
            try:
                granted = await whole(self._client.subscribe(self._answers, qos=1))
                if any(code_of(code) >= _FAILURE for code in granted):
                    raise CollectorUnreachable(self._url, "the broker does not let us hear answers")
            except BaseException:
                await leave(self._client)
                raise
        except MqttConnectError as err:
            raise CollectorUnreachable(self._url, f"the broker does not take us: {err}") from err
        except aiomqtt.MqttError as err:
            raise CollectorUnreachable(self._url, f"the broker: {err}") from err
        self._reading = asyncio.create_task(self._read(), name="answers by MQTT")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await leave(self._client)

    async def ask(self, request: Request, limit_s: float) -> Answer:
        size = len(request.body) + len(request.path) + ROOM_FOR_HEADERS
        if self._broker_takes is not None and size > self._broker_takes:
            return _too_large(self._broker_takes)
        number = secrets.token_bytes(CORRELATION_BYTES)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        mid: int | None = None
        try:
            if self.is_over:
                raise CollectorUnreachable(self._url, "the connection has ended")
            mid = self._publish(request, number, limit_s)
            async with asyncio.timeout(limit_s):
                return await waiting
        except TimeoutError:
            raise CollectorUnreachable(self._url, f"no answer within {limit_s:g} s") from None
        finally:
            del self._waiting[number]
            if mid is not None:
                self._published.pop(mid, None)

    def _publish(self, request: Request, number: bytes, limit_s: float) -> int:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self._answers
        properties.CorrelationData = number
        properties.MessageExpiryInterval = max(1, round(limit_s))  # nobody waits for the answer after that
        properties.UserProperty = [(METHOD, request.method), (PATH, request.path), *request.headers.items()]
        info = self._client._client.publish(self._ask, request.body, 1, False, properties)
        if info.rc != 0:
            raise CollectorUnreachable(self._url, "the connection has ended")
        self._published[info.mid] = number
        return int(info.mid)

    def _note_published(self, mid: int, code: int) -> None:
        """The broker has taken a question, or says why it has not."""
        number = self._published.pop(mid, None)
        if number is None or (waiting := self._waiting.get(number)) is None or waiting.done():
            return
        if code == _NOBODY_LISTENS:
            detail = "the broker is there, but no collector listens at it"
            waiting.set_exception(CollectorUnreachable(self._url, detail))
        elif code >= _FAILURE:
            detail = f"the broker refuses what we publish (reason code {code:#04x}); look at its ACL"
            waiting.set_exception(CollectorUnreachable(self._url, detail))

    async def _read(self) -> None:
        ended: aiomqtt.MqttError | None = None
        try:
            async for message in self._client.messages:
                self._take(message)
        except aiomqtt.MqttError as err:
            ended = err
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    why = f"the connection to the broker has ended ({ended})" if ended else "closed here"
                    waiting.set_exception(CollectorUnreachable(self._url, why))

    def _take(self, message: aiomqtt.Message) -> None:
        """Give an answer to who waits for it. Late ones, second ones and others have nobody."""
        number = getattr(message.properties, "CorrelationData", b"")
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done() or not isinstance(message.payload, bytes):
            return
        pseudo, headers = told(getattr(message.properties, "UserProperty", []))
        status = pseudo.get(STATUS, "")
        if len(status) == 3 and status.isascii() and status.isdecimal():
            waiting.set_result(Answer(int(status), headers, message.payload))
        else:
            waiting.set_exception(CollectorUnreachable(self._url, "what answers there is no collector"))


def _make_client(host: str, port: int, name: str) -> aiomqtt.Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = MOST_UNREAD
    properties.MaximumPacketSize = MAX_ANSWER_BYTES
    return aiomqtt.Client(
        host,
        port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        properties=properties,
        timeout=STEP_LIMIT_S,
        keepalive=KEEPALIVE_S,
        logger=QUIET,
    )


def _too_large(limit: int) -> Answer:
    """What a collector would say, said for the broker: a smaller batch goes through."""
    detail = f"the broker takes packets of {limit} bytes at most; raise max_packet_size in its configuration"
    body = f'{{"type": "{PROBLEM}{Code.TOO_LARGE}", "detail": "{detail}"}}'
    return Answer(413, {}, body.encode())
