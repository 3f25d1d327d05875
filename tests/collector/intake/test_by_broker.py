"""The collector's side of a broker: hostile clients, collectors that take turns, and one that dies."""

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collector.intake import mqtt
from collector.serve import Listening
from edge_agent.tls import CollectorUnreachable
from models.mqtt import CORRELATION_BYTES, METHOD, PATH, STATUS, answer_topic, question_topic, told
from models.protocol import CLOCK_HEADER
from tests.support.clocks import settle
from tests.support.collector import StandingClock
from tests.support.mqtt_clients import Heard, mqtt_client, publish
from tests.support.needs import needs_mosquitto
from tests.support.running import RunningCollector, real_now_ms
from tests.support.ways import Way, a_way

pytestmark = needs_mosquitto


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    async with a_way("mqtt", tmp_path, StandingClock(real_now_ms()).clock) as made:
        yield made
    await settle()


@pytest.fixture
async def client(way: Way) -> AsyncIterator[Heard]:
    """The gateway's own certificate in hands that say what they like."""
    assert way.broker is not None
    context = way.identity.ssl_context()
    async with mqtt_client(way.broker, context) as connected, Heard(connected) as heard:
        await connected.subscribe(answer_topic(way.identity.gateway_id, "+"), qos=1)
        yield heard


async def ask(
    heard: Heard, way: Way, path: str, *, method: str = "GET", at: str = "0a", body: bytes = b""
) -> None:
    me = way.identity.gateway_id
    await publish(
        heard.client,
        question_topic(me),
        body,
        answer_at=answer_topic(me, at),
        number=bytes(CORRELATION_BYTES),
        told=[(METHOD, method), (PATH, path), (CLOCK_HEADER, "nonsense")],
    )


async def test_what_cannot_be_answered_is_passed_over_and_harms_nobody(way: Way, client: Heard) -> None:
    me, number = way.identity.gateway_id, bytes(CORRELATION_BYTES)
    for answer_at, its_number in (
        (None, None),
        (None, number),
        (answer_topic(me, "0a"), None),
        (answer_topic(me, "0a"), b"short"),
        (answer_topic("gw-000000000009", "0a"), number),
        (question_topic(me), number),
        (answer_topic(me, "0a/1"), number),
        ("anything", number),
    ):
        told_too = [(METHOD, "GET"), (PATH, "/gateway/v1/time")]
        await publish(
            client.client, question_topic(me), b"", answer_at=answer_at, number=its_number, told=told_too
        )
    await ask(client, way, "/gateway/v1/time", at="0b")
    await client.until(answer_topic(me, "0b"))
    assert client.topics == [answer_topic(me, "0b")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/gateways", "404"),
        ("GET", "/metrics", "404"),
        ("GET", "/gateway/v1/../../metrics", "404"),
        ("GET", "/gateway/v1/%2e%2e/%2e%2e/metrics", "404"),
        ("GET", "/gateway/v1/nothing", "404"),
        ("DELETE", "/gateway/v1/time", "405"),
        ("", "", "404"),
        ("GET", "/gateway/v1/commands?wait_s=nan", "422"),
        ("POST", "/gateway/v1/enroll", "401"),
        ("POST", "/gateway/v1/batches", "400"),
        ("PUT", "/gateway/v1/keys/zz", "400"),
        ("GET", "/gateway/v1/time", "204"),
    ],
)
async def test_a_gateway_reaches_what_is_for_gateways_and_nothing_else(
    way: Way, client: Heard, method: str, path: str, status: str
) -> None:
    at = answer_topic(way.identity.gateway_id, "0a")
    await ask(client, way, path, method=method, body=b"{}")
    await client.until(at)
    pseudo, _ = told(client.messages[0].properties.UserProperty)  # type: ignore[union-attr]
    assert pseudo[STATUS] == status


@pytest.fixture
def two_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "MOST_WAITING", 2)


async def test_who_asks_for_commands_without_end_keeps_nobody_waiting(
    two_may_wait: None, way: Way, client: Heard
) -> None:
    at, waiting = answer_topic(way.identity.gateway_id, "0a"), answer_topic(way.identity.gateway_id, "0b")
    for _ in range(50):
        await ask(client, way, "/gateway/v1/commands?wait_s=60", at="0b", body=bytes(1000))
    await ask(client, way, "/gateway/v1/time")
    await client.until(at)
    assert client.topics.count(waiting) >= 48  # each was ended by the next; the last goes on


async def test_who_joins_the_collectors_gets_no_turn(way: Way) -> None:
    """Mosquitto lets anybody subscribe; the name of the group is known to the collectors alone."""
    assert way.broker is not None
    async with mqtt_client(way.broker, way.identity.ssl_context()) as thief, Heard(thief) as heard:
        for group in ("collectors", "collector", "gatehouse", "+"):
            with contextlib.suppress(Exception):
                await thief.subscribe(f"$share/{group}/gatehouse/v1/+/ask", qos=1)
        questions = way.questions()
        for _ in range(10):
            await questions.ask_time()
    assert heard.messages == []


@contextlib.asynccontextmanager
async def a_process(way: Way) -> AsyncIterator[tuple[asyncio.subprocess.Process, RunningCollector]]:
    """One more collector with the same folder, as its command runs it; it serves when this returns."""
    folder = str(way.collector.home.folder)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "collector.cli", "serve", "--json", "--dir", folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        serving = json.loads(await child.stdout.readline())["serving"]
        async with asyncio.timeout(20):
            while b"listening to mqtts" not in (line := await child.stderr.readline()):
                assert line, "it has ended"
        yield child, RunningCollector(way.collector.home, Listening(serving["port"], serving["http_port"]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def accepted(collector: RunningCollector) -> float:
    """How many batches this one process has stored."""
    headers = {"authorization": f"Bearer {await collector.api_token()}"}
    async with collector.client() as client:
        answer = await client.get("/metrics", headers=headers)
    found = re.search(r"^gatehouse_batches_accepted_total (\S+)$", answer.text, re.MULTILINE)
    assert found, answer.text
    return float(found[1])


async def test_several_collectors_take_turns_and_one_that_is_killed_loses_nothing(way: Way) -> None:
    await way.questions().send_key(way.sender.content_key.key_id, way.sender.package)
    questions = way.questions(way.carrier(reply_timeout_s=2.0))

    async def deliver(numbers: range, sent: asyncio.Event | None = None) -> None:
        for number in numbers:
            sealed, receipt = way.batch(number), None
            while receipt is None:
                with contextlib.suppress(CollectorUnreachable):
                    receipt = await questions.send_batch(sealed.body)
            assert receipt.digest == sealed.digest.hex()
            if sent is not None:
                sent.set()

    async with a_process(way) as (first, one), a_process(way) as (_, other):
        await way.stop_collector()
        await deliver(range(1, 11))
        turns = [await accepted(one), await accepted(other)]
        assert sum(turns) == 10
        assert min(turns) >= 3  # five each, but for answers that a busy machine gives too late
        under_way = asyncio.Event()
        sending = asyncio.create_task(deliver(range(11, 51), under_way))
        await under_way.wait()
        first.kill()
        await first.wait()
        await sending
        assert await accepted(other) > turns[1]
    assert await way.stored() == {"envelopes": 50, "readings": 50}
