"""However many gateways send at once, the collector holds a bounded amount and tells the others to wait."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from collector.api.live import LiveHub
from collector.app import create_app
from collector.control.desk import CommandDesk
from collector.identity.ca import CertificateAuthority, GatewayRequest
from collector.identity.enrolment import Enrolment
from collector.identity.keyring import Keyring
from collector.identity.next_key import NextKeys
from collector.intake.refusals import IntakeBusy
from collector.intake.service import MAX_WAITING_BATCHES, MAX_WAITING_BYTES, RETRY_AFTER_S, Intake
from collector.store.engine import Store
from models.command import CommandKey
from models.envelope import MAX_ENVELOPE_BYTES, CollectorPrivateKey
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading

Rows = Callable[..., list[Any]]


@pytest.fixture
async def client(
    store: Store, intake: Intake, sender: Sender, standing: StandingClock
) -> AsyncIterator[httpx.AsyncClient]:
    """Requests as they arrive behind TLS, from the gateway `sender`."""
    authority = CertificateAuthority.create(datetime.now(UTC))
    enrolment = Enrolment(store, authority, Keyring.of(CollectorPrivateKey.generate()), b"")
    desk = CommandDesk(store, standing.clock, CommandKey.generate())
    app = create_app(
        store,
        standing.clock,
        live=LiveHub(store),
        desk=desk,
        intake=intake,
        enrolment=enrolment,
        next_keys=NextKeys(store, authority),
    )
    request = GatewayRequest.parse(sender.csr_pem())
    certificate = authority.certify_gateway(request.public_key, sender.gateway_id, datetime.now(UTC))
    der = certificate.public_bytes(Encoding.DER)

    async def behind_tls(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"tls": {"client_cert_der": der}}}, receive, send)

    transport = httpx.ASGITransport(app=behind_tls)
    async with httpx.AsyncClient(transport=transport, base_url="https://collector") as opened:
        yield opened


@pytest.mark.parametrize(
    ("places", "size"),
    [
        pytest.param(MAX_WAITING_BATCHES, 0, id="too-many"),
        pytest.param(1, MAX_WAITING_BYTES - 100, id="too-large-together"),
    ],
)
async def test_a_full_collector_asks_to_come_back_and_then_takes_the_same_batch(
    client: httpx.AsyncClient, intake: Intake, sender: Sender, rows: Rows, places: int, size: int
) -> None:
    body = sender.seal([a_reading()]).body
    with contextlib.ExitStack() as taken:
        for _ in range(places):
            taken.enter_context(intake.place_for(size))
        answer = await client.post("/gateway/v1/batches", content=body)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:gatehouse:problem:busy")
        assert int(answer.headers["retry-after"]) > 0
    assert rows("SELECT count(*) FROM refusal") == [0]  # to wait is no mistake
    assert (await client.post("/gateway/v1/batches", content=body)).status_code == 200


async def test_a_body_of_unknown_length_takes_the_place_of_the_largest(
    client: httpx.AsyncClient, intake: Intake, sender: Sender
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield sender.seal([a_reading()]).body

    with intake.place_for(MAX_WAITING_BYTES - MAX_ENVELOPE_BYTES + 1):
        assert (await client.post("/gateway/v1/batches", content=parts())).status_code == 503
    sender.number, sender.next_seq, sender.previous = 0, 1, bytes(32)
    assert (await client.post("/gateway/v1/batches", content=parts())).status_code == 200


async def test_every_place_is_given_back(client: httpx.AsyncClient, intake: Intake, sender: Sender) -> None:
    for _ in range(MAX_WAITING_BATCHES + 1):
        assert (await client.post("/gateway/v1/batches", content=b"nonsense")).status_code == 400
    with intake.place_for(MAX_WAITING_BYTES), pytest.raises(IntakeBusy), intake.place_for(1):
        pass


def limit(pages: int) -> Callable[[sqlite3.Connection], None]:
    """How large the database may become; 1 is as large as it is."""
    return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").close()


async def test_a_full_disk_makes_gateways_wait_and_loses_nothing(
    client: httpx.AsyncClient,
    store: Store,
    sender: Sender,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await store.bulk(limit(1))
    sealed = [
        sender.seal([a_reading(float(i), at_ms=NOW_MS - i) for i in range(5000 * n, 5000 * n + 5000)])
        for n in range(3)
    ]
    answers = await asyncio.gather(*(client.post("/gateway/v1/batches", content=one.body) for one in sealed))
    assert {(answer.status_code, answer.json()["type"]) for answer in answers} == {
        (503, "urn:gatehouse:problem:busy")
    }
    assert rows("SELECT count(*) FROM reading") == rows("SELECT count(*) FROM point") == [0]
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "nothing can be stored: database or disk is full"
    ]
    await store.bulk(limit(1 << 30))
    for one in sealed:
        assert (await client.post("/gateway/v1/batches", content=one.body)).status_code == 200
    assert rows("SELECT count(*), sum(value) FROM reading") == [(15_000, 15_000 * 14_999 / 2)]


async def test_a_full_disk_makes_a_key_wait_that_is_then_taken(
    client: httpx.AsyncClient, store: Store, sender: Sender, rows: Rows
) -> None:
    async def put() -> httpx.Response:
        key_id = sender.content_key.key_id.hex()
        return await client.put(f"/gateway/v1/keys/{key_id}", content=sender.package)

    await store.bulk(limit(1))
    taken = 0
    while (answer := await put()).status_code == 204:  # the last page of the table has room for some
        taken += 1
        sender.restart()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:gatehouse:problem:busy")
    assert answer.json()["detail"] == str(IntakeBusy(RETRY_AFTER_S))
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    assert rows("SELECT count(*) FROM refusal") == [0]
    await store.bulk(limit(1 << 30))
    assert (await put()).status_code == 204
    assert rows("SELECT count(*) FROM content_key") == [max(taken, 1) + 1]


async def test_many_batches_at_once_are_all_stored(
    client: httpx.AsyncClient, sender: Sender, rows: Rows
) -> None:
    sealed = [sender.seal([a_reading(float(i), at_ms=NOW_MS - i)]) for i in range(60)]
    answers = await asyncio.gather(*(client.post("/gateway/v1/batches", content=one.body) for one in sealed))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["digest"] for answer in answers} == {one.digest.hex() for one in sealed}
    assert rows("SELECT high_water FROM epoch") == [60]
    assert rows("SELECT count(*) FROM reading") == [60]
