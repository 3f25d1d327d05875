"""What both carriers do alike, against the real collector, and by the broker as it is shipped."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from collector.identity.gateways import revoke_gateway
from collector.store import schema
from collector.store.engine import Store
from edge_agent.identity.certificates import next_key_request
from edge_agent.identity.next_key import keep_certificate, next_key
from edge_agent.tls import CollectorNotTrusted, CollectorUnreachable
from edge_agent.uplink.questions import CollectorBusy, CollectorRefused
from models.command import verify_command
from models.configuration import MAX_PUSHED_BYTES, unpack_files, verify_configuration
from models.protocol import Code
from tests.support.certificates import WRONG_SERVERS, Authority
from tests.support.clocks import settle
from tests.support.collector import StandingClock, a_reading
from tests.support.needs import needs_mosquitto
from tests.support.proxies import ConnectProxy
from tests.support.relay import Relay
from tests.support.running import real_now_ms
from tests.support.ways import Way, a_way, answered

pytestmark = needs_mosquitto

TEN_YEARS_MS = 10 * 365 * 86_400_000


@pytest.fixture
def standing() -> StandingClock:
    """Certificates live in real time."""
    return StandingClock(real_now_ms())


@pytest.fixture(params=["https", "mqtt"])
async def way(request: pytest.FixtureRequest, tmp_path: Path, standing: StandingClock) -> AsyncIterator[Way]:
    async with a_way(request.param, tmp_path, standing.clock) as made:
        yield made
    await settle()


async def test_a_key_and_batches_get_their_answers_and_a_repeat_changes_nothing(way: Way) -> None:
    questions = way.questions()
    first, second = (way.batch(number) for number in (1, 2))
    with pytest.raises(CollectorRefused) as caught:
        await questions.send_batch(first.body)
    assert (caught.value.code, caught.value.status) == (Code.UNKNOWN_KEY, 409)
    for _ in range(2):
        await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    receipts = [await questions.send_batch(sealed.body) for sealed in (first, second, first)]
    assert [(receipt.number, receipt.already) for receipt in receipts] == [(1, False), (2, False), (1, True)]
    assert [receipt.digest for receipt in receipts[:2]] == [first.digest.hex(), second.digest.hex()]
    assert receipts[1].high_water == 2
    assert questions.heard is not None
    assert questions.heard.collector_ms == way.now_ms()
    assert await way.stored() == {"envelopes": 2, "readings": 2}


async def test_a_batch_of_many_readings_goes_in_one_piece(way: Way) -> None:
    rng, at_ms = random.Random(1), way.now_ms() - 10_000_000
    items = [a_reading(rng.random(), at_ms=at_ms + 100 * number) for number in range(40_000)]
    sealed = way.sender.seal(items)
    assert len(sealed.body) > 100_000
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    assert (await questions.send_batch(sealed.body)).stored == 40_000


async def test_commands_come_as_soon_as_they_are_given_and_hold_no_batch_up(way: Way) -> None:
    carrier = way.carrier()
    questions = way.questions(carrier)
    async with await Store.open(way.collector.home.database) as store, store.write() as connection:
        gateway_id = way.identity.gateway_id
        row = {"site_id": 1, "id": 1, "gateway_id": gateway_id, "device_id": "door-01", "name": "Door"}
        await connection.execute(insert(schema.device).values(**row))
    assert await questions.ask_commands(got=[], everything=True, wait_s=0) == []
    waiting = asyncio.create_task(questions.ask_commands(got=["c-0", "c=1&"], everything=False, wait_s=50))
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    assert (await questions.send_batch(way.batch(1).body)).stored == 1
    assert not waiting.done()
    token = await way.collector.api_token("commands:write")
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "c-1"}
    body = {"action": "open_once", "arguments": {"door": 1}, "expires_in_s": 60}
    async with way.collector.client() as client:
        answer = await client.post("/api/v1/devices/a1/1/commands", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    [signed] = await waiting
    command = verify_command(
        signed, gateway_id=gateway_id, public_key=way.identity.collector.command_key, now_ms=way.now_ms()
    )
    assert (command.id, command.action) == ("c-1", "open_once")


async def test_a_configuration_of_the_largest_size_comes_where_commands_do(way: Way) -> None:
    files = {"gateway.yaml": "devices: []\n", "more.csv": random.Random(1).randbytes(930_000).hex()}
    questions, gateway_id = way.questions(), way.identity.gateway_id
    waiting = asyncio.create_task(questions.ask_commands(got=[], everything=False, wait_s=50))
    token = await way.collector.api_token("config:write")
    async with way.collector.client() as client:
        client.headers["authorization"] = f"Bearer {token}"
        address = f"/api/v1/gateways/{gateway_id}/configuration"
        answer = await client.post(address, json={"id": "p-1", "files": files})
    assert answer.status_code == 200, answer.text
    [signed] = await waiting
    assert len(signed) > 0.9 * MAX_PUSHED_BYTES
    key = way.identity.collector.command_key
    pushed = verify_configuration(signed, gateway_id=gateway_id, public_key=key, now_ms=way.now_ms())
    assert unpack_files(pushed.packed) == {name: text.encode() for name, text in files.items()}
    assert await questions.ask_commands(got=["p-1"], everything=False, wait_s=0) == []


async def test_what_is_wrong_is_refused_with_a_code_and_what_to_do(way: Way) -> None:
    questions = way.questions()
    wrong = ((b"", Code.MALFORMED), (b"nonsense" * 99, Code.MALFORMED), (bytes(9 << 20), Code.TOO_LARGE))
    for body, code in wrong:
        with pytest.raises(CollectorRefused) as caught:
            await questions.send_batch(body)
        assert caught.value.code == code
        assert caught.value.detail
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    sealed = way.batch(1).body
    with pytest.raises(CollectorRefused) as caught:
        await questions.send_batch(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert caught.value.code == Code.BAD_SIGNATURE
    assert (await questions.send_batch(sealed)).stored == 1


async def test_a_busy_collector_names_a_pause_and_then_takes_the_same_batch(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    sealed = way.batch(1)
    with monkeypatch.context() as full:
        full.setattr("collector.intake.service.MAX_WAITING_BATCHES", 0)
        with pytest.raises(CollectorBusy) as caught:
            await questions.send_batch(sealed.body)
    assert caught.value.retry_after_s == 5
    assert not (await questions.send_batch(sealed.body)).already


async def test_a_revoked_gateway_is_refused_with_its_next_batch(way: Way) -> None:
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    await questions.send_batch(way.batch(1).body)
    async with await Store.open(way.collector.home.database) as store:
        await revoke_gateway(store, way.identity.gateway_id, by="test", now_ms=real_now_ms())
    with pytest.raises(CollectorRefused) as caught:
        await questions.send_batch(way.batch(1).body)
    assert caught.value.code == Code.REVOKED
    with pytest.raises(CollectorRefused):
        await questions.ask_commands(got=[], everything=True, wait_s=50)


async def test_a_certificate_is_renewed_and_the_next_one_goes_on_where_the_first_was(way: Way) -> None:
    questions, present = way.questions(), way.identity
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    waiting = way.batch(1)
    request = next_key_request(present.gateway_id, present.signing_key, next_key(present))
    pem = await questions.renew(request)
    assert await questions.renew(request) == pem
    following = keep_certificate(present, pem)
    way.identity = following
    after = way.questions()
    assert (await after.ask_time()).collector_ms == way.now_ms()
    way.sender.signing_key = following.signing_key
    assert (await after.send_batch(waiting.body)).stored == 1
    assert (await after.send_batch(way.batch(2).body)).stored == 1
    assert (await questions.send_batch(waiting.body)).already  # the one before is good for what is under way


async def test_a_revoked_gateway_is_not_certified_again(way: Way) -> None:
    questions, present = way.questions(), way.identity
    async with await Store.open(way.collector.home.database) as store:
        await revoke_gateway(store, present.gateway_id, by="test", now_ms=real_now_ms())
    with pytest.raises(CollectorRefused) as caught:
        await questions.renew(next_key_request(present.gateway_id, present.signing_key, next_key(present)))
    assert caught.value.code == Code.REVOKED


async def test_a_batch_whose_receipt_is_lost_is_sent_again_and_stored_once(way: Way) -> None:
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    for number in range(1, 4):
        sealed = way.batch(number)
        way.network.loses_answers = True
        sending = asyncio.create_task(questions.send_batch(sealed.body))
        async with asyncio.timeout(20):
            while (await way.stored())["envelopes"] < number:  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0.01)
        await way.network.cut()
        with pytest.raises(CollectorUnreachable):
            await sending
        way.network.loses_answers = False
        assert (await questions.send_batch(sealed.body)).already
    assert await way.stored() == {"envelopes": 3, "readings": 3}


async def test_connections_that_are_cut_at_any_time_lose_and_double_nothing(way: Way) -> None:
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)

    failures = 0
    for number in range(8):
        sealed = way.batch(number)
        for turns in (0, 3, 10, 30, 60, 100, 150):  # of the loop, that it has before the cut
            sending = asyncio.create_task(questions.send_batch(sealed.body))
            for _ in range(turns):
                await asyncio.sleep(0)
            await way.network.cut()
            with contextlib.suppress(CollectorUnreachable):
                await sending
                break
            failures += 1
        else:
            await questions.send_batch(sealed.body)
    assert failures
    assert await way.stored() == {"envelopes": 8, "readings": 8}


async def test_many_questions_at_once_each_get_their_own_answer(way: Way) -> None:
    questions = way.questions()
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    sealed = [way.batch(n) for n in range(30)]
    receipts = await asyncio.gather(*(questions.send_batch(one.body) for one in sealed))
    assert [receipt.digest for receipt in receipts] == [one.digest.hex() for one in sealed]


class _Server:
    """Speaks TLS with a certificate that it should not have, and keeps every byte that it is told."""

    def __init__(self) -> None:
        self.told, self.handshakes, self.port = bytearray(), 0, 0
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def serve(self, context: ssl.SSLContext) -> AsyncIterator["_Server"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.handshakes += 1
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                self.told += data


@pytest.mark.parametrize("reason", WRONG_SERVERS)
async def test_whoever_is_not_the_collector_is_told_nothing_at_all(way: Way, reason: str) -> None:
    authority = Authority.of(way.collector.home.ca_certificate, way.collector.home.ca_key)
    server = WRONG_SERVERS[reason](authority)
    async with _Server().serve(server) as impostor, Relay(("127.0.0.1", impostor.port)).serve() as network:
        questions = way.questions(way.carrier(network.port))
        sealed = way.batch(1)
        for ask in (questions.ask_time, lambda: questions.send_batch(sealed.body)):
            with pytest.raises(CollectorNotTrusted) as caught:
                await ask()
            assert caught.value.reason == reason
        await settle()
    assert bytes(impostor.told) == b""
    assert network.connections == 2
    assert network.upwards  # it has said hello, which TLS has in clear
    assert sealed.body[:64] not in network.upwards
    assert way.identity.gateway_id.encode() not in network.upwards


async def test_a_certificate_is_judged_by_the_time_that_its_owner_tells(
    way: Way, standing: StandingClock
) -> None:
    """A gateway that does not know the time takes it from a collector that can be ours at that time."""
    carrier = way.carrier(certificates_at_s=lambda: None)
    questions = way.questions(carrier)
    assert (await questions.ask_time()).collector_ms == standing.now_ms
    standing.now_ms += TEN_YEARS_MS
    with pytest.raises(CollectorNotTrusted, match="expired"):
        await questions.ask_time()
    standing.now_ms -= 2 * TEN_YEARS_MS
    with pytest.raises(CollectorNotTrusted, match="not valid yet"):
        await questions.ask_time()


@pytest.mark.parametrize(("off_ms", "reason"), [(TEN_YEARS_MS, "expired"), (-TEN_YEARS_MS, "not-yet-valid")])
async def test_a_certificate_out_of_its_time_by_our_clock_is_told_nothing(
    way: Way, off_ms: int, reason: str
) -> None:
    questions = way.questions(way.carrier(certificates_at_s=lambda: (real_now_ms() + off_ms) / 1000))
    with pytest.raises(CollectorNotTrusted) as caught:
        await questions.ask_time()
    assert caught.value.reason == reason


async def test_a_proxy_passes_it_on_and_learns_nothing(way: Way) -> None:
    async with ConnectProxy().serve() as proxy:
        questions = way.questions(way.through(proxy.url))
        await questions.ask_time()
        await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    assert proxy.asked_for == [f"localhost:{way.network.port}"]
    assert way.identity.gateway_id.encode() not in proxy.passed
    async with ConnectProxy(login="somebody:else").serve() as proxy:
        with pytest.raises(CollectorUnreachable, match="407"):
            await way.questions(way.through(proxy.url)).ask_time()


async def test_a_collector_that_is_not_there_is_unreachable_and_is_found_when_it_comes_back(
    way: Way, standing: StandingClock
) -> None:
    questions = way.questions()
    await questions.ask_time()
    await way.network.cut()
    await way.stop_collector()
    for _ in range(2):
        with pytest.raises(CollectorUnreachable):
            await questions.ask_time()
    await way.start_collector(standing.clock)
    await answered(questions)
    await questions.send_key(way.sender.content_key.key_id, way.sender.package)
    assert (await questions.send_batch(way.batch(1).body)).stored == 1
