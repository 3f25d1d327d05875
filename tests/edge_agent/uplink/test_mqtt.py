"""What only the carrier by MQTT meets: answers that are late, doubled or somebody else's, and a broker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest

from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.carrier import Answer, Carrier, Request
from edge_agent.uplink.questions import CollectorRefused
from models.mqtt import ALL_QUESTIONS, STATUS
from models.protocol import Code
from tests.support.clocks import settle
from tests.support.collector import StandingClock
from tests.support.mqtt_clients import Heard, asks, context_of, mqtt_client, publish
from tests.support.needs import needs_mosquitto
from tests.support.running import real_now_ms
from tests.support.ways import Way, a_way, answered

pytestmark = needs_mosquitto


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    async with a_way("mqtt", tmp_path, StandingClock(real_now_ms()).clock) as made:
        yield made
    await settle()


@dataclass
class Hand:
    """A collector whose answers the test writes."""

    client: aiomqtt.Client
    heard: Heard

    async def question(self, count: int) -> aiomqtt.Message:
        """The one of that count, from 1 on."""
        async with asyncio.timeout(10):
            while len(self.heard.messages) < count:  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0.005)
        return self.heard.messages[count - 1]

    async def answer(
        self, to: aiomqtt.Message, body: bytes, *, number: bytes | None = None, status: str = "200"
    ) -> None:
        at, its_number = asks(to)
        await publish(self.client, at, body, number=number or its_number, told=[(STATUS, status)])


@pytest.fixture
async def hand(way: Way) -> AsyncIterator[Hand]:
    """Takes the place of the collector, which is stopped."""
    assert way.broker is not None
    await way.stop_collector()
    home = way.collector.home
    home.ensure_broker_client_certificate(datetime.now(UTC))
    context = context_of(home.ca_certificate, home.broker_client_certificate)
    async with mqtt_client(way.broker, context) as client, Heard(client) as heard:
        await client.subscribe(ALL_QUESTIONS, qos=1)
        yield Hand(client, heard)


def asking(carrier: Carrier, path: str = "/gateway/v1/x") -> "asyncio.Task[Answer]":
    return asyncio.create_task(carrier.exchange(Request("GET", path)))


async def test_an_answer_is_to_its_own_question_whatever_comes_before_it(way: Way, hand: Hand) -> None:
    carrier = way.carrier()
    first = asking(carrier)
    one = await hand.question(1)
    second = asking(carrier)
    two = await hand.question(2)
    await hand.answer(two, b"to nobody", number=bytes(16))
    await hand.answer(two, b"without a number that is one", number=b"x")
    await hand.answer(two, b"two")
    await hand.answer(two, b"two again")
    await hand.answer(one, b"one")
    assert [(await task).body for task in (first, second)] == [b"one", b"two"]
    third = asking(carrier)
    three = await hand.question(3)
    await hand.answer(one, b"one, late")
    await hand.answer(two, b"two, late")
    await hand.answer(three, b"three")
    assert (await third).body == b"three"


async def test_without_an_answer_in_time_nobody_knows_and_a_late_one_is_for_nobody(
    way: Way, hand: Hand
) -> None:
    carrier = way.carrier(reply_timeout_s=0.05)
    with pytest.raises(CollectorUnreachable, match=r"no answer within 0\.05 s"):
        await carrier.exchange(Request("GET", "/gateway/v1/x"))
    late = await hand.question(1)
    patient = way.carrier()
    again = asking(patient)
    asked_again = await hand.question(2)
    await hand.answer(late, b"late")
    await hand.answer(asked_again, b"in time")
    assert (await again).body == b"in time"


@pytest.mark.parametrize("status", ["", "20", "2000", "٢٠٠", "abc"])
async def test_an_answer_that_is_none_of_a_collector_is_told_as_that(
    way: Way, hand: Hand, status: str
) -> None:
    task = asking(way.carrier())
    await hand.answer(await hand.question(1), b"", status=status)
    with pytest.raises(CollectorUnreachable, match="no collector"):
        await task


async def test_a_connection_of_later_hears_nothing_of_what_an_earlier_one_asked(way: Way, hand: Hand) -> None:
    before = way.carrier()
    task = asking(before)
    question = await hand.question(1)
    await before.close()
    with pytest.raises(CollectorUnreachable):
        await task
    carrier = way.carrier()
    later = asking(carrier)
    two = await hand.question(2)
    await hand.answer(question, b"to the one before")
    await hand.answer(two, b"to this one")
    assert (await later).body == b"to this one"
    assert asks(question)[0] != asks(two)[0]


async def test_without_a_collector_at_the_broker_that_is_said_at_once(way: Way) -> None:
    await way.stop_collector()
    with pytest.raises(CollectorUnreachable, match="no collector listens"):
        await way.questions().ask_time()


async def test_a_broker_that_is_killed_in_the_middle_of_a_question_loses_nothing(way: Way) -> None:
    assert way.broker is not None
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    for number in range(1, 4):
        sealed = way.batch(number)
        way.network.loses_answers = True
        sending = asyncio.create_task(questions.send_batch(sealed.body))
        for _ in range(20 * number):
            await asyncio.sleep(0)
        await way.broker.kill()
        with pytest.raises(CollectorUnreachable):
            await sending
        way.network.loses_answers = False
        with pytest.raises(CollectorUnreachable):
            await questions.send_batch(sealed.body)
        await way.broker.start()
        await answered(questions)
        await questions.send_batch(sealed.body)
    assert await way.stored() == {"envelopes": 3, "readings": 3}


async def test_a_batch_that_is_too_large_for_the_broker_is_refused_here_and_a_smaller_one_goes(
    tmp_path: Path,
) -> None:
    clock = StandingClock(real_now_ms()).clock
    async with a_way("mqtt", tmp_path, clock, max_packet_size="20000") as way:
        questions = way.questions()
        await questions.send_key(way.sender.content_key.key_id, way.sender.package)
        with pytest.raises(CollectorRefused, match="20000 bytes at most") as caught:
            await questions.send_batch(bytes(20_000))
        assert (caught.value.status, caught.value.code) == (413, Code.TOO_LARGE)
        assert (await questions.send_batch(way.batch(1).body)).stored == 1


async def test_closing_ends_what_is_under_way_and_may_be_done_twice(way: Way, hand: Hand) -> None:
    carrier = way.carrier()
    tasks = [asking(carrier) for _ in range(3)]
    await hand.question(3)
    await carrier.close()
    await carrier.close()
    for task in tasks:
        with pytest.raises(CollectorUnreachable):
            await task
    with pytest.raises(CollectorUnreachable, match="closed"):
        await carrier.exchange(Request("GET", "/gateway/v1/x"))


async def test_being_cancelled_at_any_time_leaves_nothing_behind(way: Way) -> None:
    for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        carrier = way.carrier()
        task = asking(carrier, "/gateway/v1/time")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await carrier.close()
    await settle()
