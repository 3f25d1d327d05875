"""Bare MQTT clients for tests: whoever has a certificate, and asks the broker for what he likes."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drivers.mqtt import QUIET, TidySocket, enter, leave
from tests.support.brokers import ShippedBroker


def context_of(ca: Path, certificate: Path | None) -> ssl.SSLContext:
    """Trusts that authority, and shows that certificate, with its key in the same file."""
    context = ssl.create_default_context(cafile=ca)
    context.sslsocket_class = TidySocket
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@contextlib.asynccontextmanager
async def mqtt_client(broker: ShippedBroker, context: ssl.SSLContext) -> AsyncIterator[aiomqtt.Client]:
    client = aiomqtt.Client(
        "localhost",
        broker.port,
        identifier=secrets.token_hex(8),
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context,
        timeout=5,
        logger=QUIET,
    )
    await enter(client)
    try:
        yield client
    finally:
        await leave(client)


async def publish(
    client: aiomqtt.Client,
    topic: str,
    body: bytes,
    *,
    answer_at: str | None = None,
    number: bytes | None = None,
    told: list[tuple[str, str]] | None = None,
    retain: bool = False,
) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if answer_at is not None:
        properties.ResponseTopic = answer_at
    if number is not None:
        properties.CorrelationData = number
    if told:
        properties.UserProperty = told
    await client.publish(topic, body, qos=1, retain=retain, properties=properties)


def asks(question: aiomqtt.Message) -> tuple[str, bytes]:
    """Where its answer belongs, and with which number."""
    properties: Any = question.properties
    return properties.ResponseTopic, properties.CorrelationData


class Heard:
    """What a client is given, while the block runs."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.messages: list[aiomqtt.Message] = []
        self.client = client
        self._came = asyncio.Event()

    async def __aenter__(self) -> "Heard":
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, topic: str) -> None:
        """Wait for a message of that topic: what was published before it has come, or will not."""
        async with asyncio.timeout(10):
            while topic not in self.topics:
                self._came.clear()
                await self._came.wait()

    @property
    def topics(self) -> list[str]:
        return [str(message.topic) for message in self.messages]

    async def _listen(self) -> None:
        async for message in self.client.messages:
            self.messages.append(message)
            self._came.set()
