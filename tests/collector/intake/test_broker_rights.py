"""Who may do what at the shipped broker: a gateway asks and hears for itself, and for nobody else."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from collector.identity.ca import CertificateAuthority
from collector.identity.home import Home
from models.mqtt import ALL_QUESTIONS, answer_topic, question_topic
from tests.support.brokers import ShippedBroker, shipped_broker
from tests.support.mqtt_clients import Heard, context_of, mqtt_client, publish
from tests.support.needs import needs_mosquitto
from tests.support.running import key_pem, new_home

pytestmark = needs_mosquitto

OWN, OTHER = "gw-000000000001", "gw-000000000002"


@dataclass
class Place:
    """A broker, and certificates of its collector's authority."""

    home: Home
    broker: ShippedBroker
    folder: Path

    def gateway(
        self, name: str, *, now: datetime | None = None, by: CertificateAuthority | None = None
    ) -> Path:
        key = Ed25519PrivateKey.generate()
        authority = by or self.home.authority()
        certificate = authority.certify_gateway(key.public_key(), name, now or datetime.now(UTC))
        path = self.folder / f"{name}.pem"
        path.write_bytes(key_pem(key) + certificate.public_bytes(Encoding.PEM))
        return path

    def context(self, certificate: Path | None) -> ssl.SSLContext:
        return context_of(self.home.ca_certificate, certificate)

    def collector(self) -> ssl.SSLContext:
        self.home.ensure_broker_client_certificate(datetime.now(UTC))
        return self.context(self.home.broker_client_certificate)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    home = await new_home(tmp_path / "collector")
    async with shipped_broker(home, tmp_path / "broker") as broker:
        yield Place(home, broker, tmp_path)


async def test_a_gateway_is_heard_at_its_own_topic_alone(place: Place) -> None:
    async with (
        mqtt_client(place.broker, place.collector()) as collector,
        mqtt_client(place.broker, place.context(place.gateway(OWN))) as gateway,
        Heard(collector) as heard,
    ):
        await collector.subscribe([(ALL_QUESTIONS, 1), ("gatehouse/#", 1), ("#", 1)])
        for topic in (
            question_topic(OTHER),
            answer_topic(OTHER, "00"),
            answer_topic(OWN, "00"),
            question_topic("+"),
            f"{question_topic(OWN)}/more",
            "gatehouse/v1/ask",
            "anything",
        ):
            if "+" not in topic:
                await publish(gateway, topic, b"forged")
        await publish(gateway, question_topic(OWN), b"asked")
        await heard.until(question_topic(OWN))
    assert {(str(message.topic), message.payload) for message in heard.messages} == {
        (question_topic(OWN), b"asked")
    }


async def test_a_gateway_hears_its_own_answers_alone(place: Place) -> None:
    async with (
        mqtt_client(place.broker, place.collector()) as collector,
        mqtt_client(place.broker, place.context(place.gateway(OWN))) as gateway,
        mqtt_client(place.broker, place.context(place.gateway(OTHER))) as other,
        Heard(gateway) as heard,
    ):
        everything = [
            ("#", 1),
            ("gatehouse/#", 1),
            (ALL_QUESTIONS, 1),
            ("$SYS/#", 1),
            (answer_topic(OTHER, "+"), 1),
        ]
        await gateway.subscribe(everything)
        await publish(collector, answer_topic(OTHER, "00"), b"for the other")
        await publish(other, question_topic(OTHER), b"of the other")
        await publish(collector, answer_topic(OWN, "00"), b"for us")
        await heard.until(answer_topic(OWN, "00"))
    assert set(heard.topics) == {answer_topic(OWN, "00")}


async def test_nothing_is_left_lying_for_whoever_comes_later(place: Place) -> None:
    certificate = place.context(place.gateway(OWN))
    async with mqtt_client(place.broker, certificate) as gateway:
        gateway._client.publish(question_topic(OWN), b"kept", 1, True)
        with pytest.raises(aiomqtt.MqttError, match=r"[Dd]isconnected"):  # which is what becomes of who tries
            await anext(gateway.messages)
    async with (
        mqtt_client(place.broker, place.collector()) as collector,
        mqtt_client(place.broker, certificate) as gateway,
        Heard(collector) as heard,
    ):
        await collector.subscribe(ALL_QUESTIONS, qos=1)
        await publish(gateway, question_topic(OWN), b"now")
        await heard.until(question_topic(OWN))
    assert [message.payload for message in heard.messages] == [b"now"]


CONNECT = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01x"  # MQTT 5, client id x
CONNACK = 0x20


async def answer_to_connect(place: Place, context: ssl.SSLContext | None) -> bytes:
    """What the broker says; nothing when it ends the connection, under TLS 1.3 after the handshake."""
    try:
        reader, writer = await asyncio.open_connection("localhost", place.broker.port, ssl=context)
    except (OSError, ssl.SSLError):
        return b""
    try:
        writer.write(CONNECT)
        async with asyncio.timeout(10):
            return await reader.read(1)
    except (OSError, ssl.SSLError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def answers(place: Place, context: ssl.SSLContext | None) -> list[bytes]:
    """To that one, and after it to a gateway of the collector."""
    known = place.context(place.gateway(OTHER))
    return [await answer_to_connect(place, whose) for whose in (context, known)]


THE_GATEWAY_ALONE = [b"", bytes([CONNACK])]


async def test_a_gateway_of_the_collector_is_let_in(place: Place) -> None:
    assert await answers(place, place.context(place.gateway(OWN))) == [bytes([CONNACK])] * 2


async def test_who_shows_no_certificate_gets_nowhere(place: Place) -> None:
    assert await answers(place, place.context(None)) == THE_GATEWAY_ALONE


async def test_a_certificate_of_another_authority_gets_nowhere(place: Place) -> None:
    other = CertificateAuthority.create(datetime.now(UTC))
    assert await answers(place, place.context(place.gateway(OWN, by=other))) == THE_GATEWAY_ALONE


async def test_a_certificate_that_has_ended_gets_nowhere(place: Place) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3000)
    assert await answers(place, place.context(place.gateway(OWN, now=long_ago))) == THE_GATEWAY_ALONE


async def test_the_certificate_of_a_server_makes_nobody_a_client(place: Place) -> None:
    assert await answers(place, place.context(place.home.server_certificate)) == THE_GATEWAY_ALONE


async def test_tls_before_1_3_gets_nowhere(place: Place) -> None:
    context = place.context(place.gateway(OWN))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await answers(place, context) == THE_GATEWAY_ALONE


async def test_without_tls_nothing_is_said(place: Place) -> None:
    assert await answers(place, None) == THE_GATEWAY_ALONE
