"""The connection to an MQTT broker that keeps what is not yet stored: nothing is acknowledged before that.

aiomqtt acknowledges a message as soon as it is queued and has no public way to do that later (issue 345 of
its repository). Its inner client has, and this module alone reaches for it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drivers.mqtt import QUIET, TidySocket, code_of, enter, leave, whole
from models.errors import NeedsAHuman, RetryLater

MOST_UNACKNOWLEDGED: Final = 64
"""The broker sends no more before some are stored; as many share one commit."""

SESSION_LASTS_S: Final = 7 * 86_400
"""How long the broker keeps messages for a gateway that is away, if its own limits allow it."""

CONNECT_LIMIT_S: Final = 4.0
KEEPALIVE_S: Final = 30

_NOT_ALLOWED: Final = (
    0x84,
    0x85,
    0x86,
    0x87,
    0x8A,
    0x8C,
)  # CONNACK: protocol, client id, password, rights, ban


class BrokerGone(RetryLater):
    """There is no connection to the broker, or no longer."""


class BrokerRefused(NeedsAHuman):
    """The broker, or a file that is needed to reach it, must be put right first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a broker is and who we are there. The password stays in its file until it is needed."""

    host: str
    port: int
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in the order in which the broker has them."""

    messages: tuple[tuple[str, bytes], ...]  # topic and body
    _ids: tuple[tuple[int, int], ...]
    _client: aiomqtt.Client

    def acknowledge(self) -> None:
        """They are stored: the broker may forget them. What is not acknowledged comes again."""
        for number, qos in self._ids:
            self._client._client.ack(number, qos)


@contextlib.asynccontextmanager
async def connected(
    broker: Broker, client_id: str, topics: Sequence[str]
) -> AsyncIterator[AsyncIterator[Batch]]:
    """Subscribed while the block runs. Raise BrokerGone and BrokerRefused, also while batches are awaited."""
    client = await _make_client(broker, client_id)
    try:
        await enter(client)
        try:
            granted = await whole(client.subscribe([(topic, 1) for topic in topics]))
            if any(code_of(code) >= 0x80 for code in granted):
                raise BrokerRefused(
                    f"{broker.endpoint}: the broker does not let us subscribe to {topics[0]}; correct its ACL"
                )
            yield _batches(client)
        finally:
            await leave(client)
    except MqttConnectError as err:
        if code_of(err.rc) in _NOT_ALLOWED:
            what = f"{broker.endpoint}: the broker refuses us: {err}"
            raise BrokerRefused(f"{what}; correct username and password_file of the bus") from err
        raise BrokerGone(f"{broker.endpoint}: {err}") from err
    except aiomqtt.MqttError as err:
        raise BrokerGone(f"{broker.endpoint}: {err}") from err


async def _batches(client: aiomqtt.Client) -> AsyncIterator[Batch]:
    """All that is there, up to a commit's worth, as soon as something is there."""
    while True:
        taken = [await anext(client.messages)]
        while len(client.messages) and len(taken) < MOST_UNACKNOWLEDGED:
            taken.append(await anext(client.messages))
        messages = tuple((str(message.topic), _body(message)) for message in taken)
        yield Batch(messages, tuple((message.mid, message.qos) for message in taken), client)


def _body(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""


async def _make_client(broker: Broker, client_id: str) -> aiomqtt.Client:
    password, context = await asyncio.to_thread(_read_secrets, broker)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_LASTS_S
    properties.ReceiveMaximum = MOST_UNACKNOWLEDGED
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=password,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        tls_context=context,
        timeout=CONNECT_LIMIT_S,
        keepalive=KEEPALIVE_S,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        logger=QUIET,
    )
    client._client.manual_ack_set(True)
    client._client.connect_timeout = CONNECT_LIMIT_S
    return client


def _read_secrets(broker: Broker) -> tuple[str | None, ssl.SSLContext | None]:
    """Raise BrokerRefused without a word of what the files hold."""
    path = broker.password_file
    try:
        password = None if path is None else path.read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise BrokerRefused(f"{path}: cannot be read; write the password of the broker there") from err
    if broker.ca_file is None:
        return password, None
    try:
        context = ssl.create_default_context(cafile=str(broker.ca_file))
        context.sslsocket_class = TidySocket
        return password, context
    except (OSError, ssl.SSLError) as err:
        what = f"{broker.ca_file}: is no certificate authority that can be read ({err})"
        raise BrokerRefused(f"{what}; correct ca_file of the bus") from err
