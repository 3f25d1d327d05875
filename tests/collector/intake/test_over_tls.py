"""Gateways at the wire: enrolment, certificates, keys and batches over real TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_pem_x509_certificate

from collector.identity.ca import CertificateAuthority, GatewayRequest, certificate_pem
from collector.identity.enrolment import revoke_gateway
from collector.store.engine import Store
from collector.store.schema import refusal
from models.envelope import MAX_ENVELOPE_BYTES, CollectorPrivateKey
from models.protocol import CLOCK_HEADER, EnrollRequest, Receipt
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading
from tests.support.running import A_SEAL_KEY, RunningCollector, key_pem, new_home, running


@pytest.fixture
async def collector(tmp_path: Path, standing: StandingClock) -> AsyncIterator[RunningCollector]:
    home = await new_home(tmp_path / "collector", http=True)
    async with running(home, standing.clock) as serving:
        yield serving


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["title"]
    assert said["detail"]
    assert said["hint"]
    return answer.status_code, said["type"].removeprefix("urn:gatehouse:problem:")


async def send_key(client: httpx.AsyncClient, sender: Sender) -> httpx.Response:
    return await client.put(f"/gateway/v1/keys/{sender.content_key.key_id.hex()}", content=sender.package)


async def send(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/octet-stream"}
    return await client.post("/gateway/v1/batches", content=body, headers=headers)


def asking(secret: str, csr_pem: str | None = None) -> dict[str, str]:
    pem = csr_pem or Sender("", _collector_key()).csr_pem()
    return EnrollRequest(secret=secret, csr_pem=pem, agent_version="test", seal_key=A_SEAL_KEY).model_dump()


def _collector_key() -> bytes:
    return CollectorPrivateKey.generate().public_bytes()


async def test_an_enrolled_gateway_brings_its_key_and_its_batches(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        sealed = sender.seal([a_reading()])
        assert problem(await send(client, sealed.body)) == (409, "unknown-key")
        for _ in range(2):
            assert (await send_key(client, sender)).status_code == 204
        answers = [await send(client, sealed.body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        receipts = [Receipt.model_validate_json(answer.text) for answer in answers]
    assert [receipt.already for receipt in receipts] == [False, True]
    assert {receipt.digest for receipt in receipts} == {sealed.digest.hex()}


async def test_the_whole_way_works_on_one_connection_and_on_new_ones(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        await send_key(client, sender)
        for i in range(5):
            items = [a_reading(float(i), at_ms=NOW_MS - i)]
            assert (await send(client, sender.seal(items).body)).status_code == 200
    async with collector.client(certificate) as client:
        receipt = (await send(client, sender.seal([a_reading(9.0, at_ms=NOW_MS - 9)]).body)).json()
    assert receipt["high_water"] == 6


async def test_without_a_certificate_nothing_is_taken(collector: RunningCollector, tmp_path: Path) -> None:
    sender, _ = await collector.enrol(tmp_path)
    async with collector.client() as client:
        assert problem(await send(client, sender.seal([a_reading()]).body)) == (401, "no-certificate")
        assert problem(await send_key(client, sender)) == (401, "no-certificate")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{collector.at.http_port}", trust_env=False
    ) as client:
        assert problem(await send(client, b"")) == (401, "no-certificate")
        token = await collector.enrollment_token()
        answer = await client.post("/gateway/v1/enroll", json=asking(token.secret))
        assert problem(answer) == (401, "no-certificate")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_gateway_may_only_send_what_it_sealed(collector: RunningCollector, tmp_path: Path) -> None:
    victim, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        await send_key(client, victim)
    _, other_certificate = await collector.enrol(tmp_path)
    async with collector.client(other_certificate) as client:
        body = victim.seal([a_reading()]).body
        assert problem(await send(client, body)) == (403, "foreign-gateway")
        assert problem(await send_key(client, victim)) == (403, "foreign-gateway")


async def rejects_in_the_handshake(client: httpx.AsyncClient) -> None:
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        await send(client, b"x")


async def test_a_certificate_of_another_authority_is_refused_in_the_handshake(
    collector: RunningCollector, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    request = GatewayRequest.parse(Sender("", _collector_key(), key).csr_pem())
    other = CertificateAuthority.create(datetime.now(UTC))
    foreign = tmp_path / "foreign.pem"
    pem = certificate_pem(other.certify_gateway(request, "gw-000000000001", datetime.now(UTC)))
    foreign.write_bytes(key_pem(key) + pem.encode())
    async with collector.client(foreign) as client:
        await rejects_in_the_handshake(client)


async def test_the_servers_own_certificate_makes_nobody_a_gateway(collector: RunningCollector) -> None:
    async with collector.client(collector.home.server_certificate) as client:
        await rejects_in_the_handshake(client)


async def test_an_expired_certificate_is_refused_in_the_handshake(
    collector: RunningCollector, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    request = GatewayRequest.parse(Sender("", _collector_key(), key).csr_pem())
    old = datetime(2020, 1, 1, tzinfo=UTC)
    pem = certificate_pem(collector.home.authority().certify_gateway(request, "gw-000000000001", old))
    expired = tmp_path / "expired.pem"
    expired.write_bytes(key_pem(key) + pem.encode())
    async with collector.client(expired) as client:
        await rejects_in_the_handshake(client)


async def test_a_certificate_for_another_key_than_was_enrolled_is_refused(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, _ = await collector.enrol(tmp_path)
    key = Ed25519PrivateKey.generate()
    request = GatewayRequest.parse(Sender("", _collector_key(), key).csr_pem())
    pem = certificate_pem(
        collector.home.authority().certify_gateway(request, sender.gateway_id, datetime.now(UTC))
    )
    other = tmp_path / "other.pem"
    other.write_bytes(key_pem(key) + pem.encode())
    async with collector.client(other) as client:
        assert problem(await send(client, sender.seal([a_reading()]).body)) == (403, "revoked")


async def test_a_gateway_trusts_no_other_collector(
    collector: RunningCollector, tmp_path: Path, standing: StandingClock
) -> None:
    other = await new_home(tmp_path / "other")
    async with running(other, standing.clock) as elsewhere:
        context = ssl.create_default_context(cafile=collector.home.ca_certificate)
        async with httpx.AsyncClient(base_url=elsewhere.url, verify=context, trust_env=False) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get("/healthz")


async def test_a_revoked_gateway_is_refused_on_the_connection_that_it_has(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        await send_key(client, sender)
        assert (await send(client, sender.seal([a_reading()]).body)).status_code == 200
        async with await Store.open(collector.home.database) as beside:  # as the command does
            await revoke_gateway(beside, sender.gateway_id, now_ms=NOW_MS)
        answer = await send(client, sender.seal([a_reading(2.0)]).body)
        assert problem(answer) == (403, "revoked")


async def test_an_enrolled_gateway_gets_a_certificate_of_the_authority_in_its_token(
    collector: RunningCollector,
) -> None:
    token = await collector.enrollment_token(name="北楼")
    assert token.ca_certificate_der == collector.home.authority().certificate_der()
    context = ssl.create_default_context(cadata=token.ca_certificate_der)
    async with httpx.AsyncClient(base_url=token.url, verify=context, trust_env=False) as client:
        answer = await client.post("/gateway/v1/enroll", json=asking(token.secret))
    assert answer.status_code == 201
    certificate = load_pem_x509_certificate(answer.json()["certificate_pem"].encode())
    certificate.verify_directly_issued_by(collector.home.authority().certificate)
    assert token.secret not in answer.text


async def test_a_used_expired_or_unknown_token_admits_nobody(collector: RunningCollector) -> None:
    used = await collector.enrollment_token()
    async with collector.client() as client:

        async def enrol(body: dict[str, Any]) -> httpx.Response:
            return await client.post("/gateway/v1/enroll", json=body)

        assert problem(await enrol(asking(used.secret, "no request"))) == (400, "malformed")
        assert (await enrol(asking(used.secret))).status_code == 201
        assert problem(await enrol(asking(used.secret))) == (403, "token-used")
        assert problem(await enrol(asking("guess"))) == (403, "token-unknown")
        expired = await collector.enrollment_token(hours=1e-9)
        assert problem(await enrol(asking(expired.secret))) == (403, "token-expired")
        for body in ({}, {"secret": 1}, asking("x") | {"more": 1}, asking("x") | {"secret": "x" * 300}):
            answer = await enrol(body)
            assert problem(answer) == (400, "malformed")
            assert "xxxx" not in answer.text


async def test_two_enrolments_race_for_one_token_and_one_wins(collector: RunningCollector) -> None:
    token = await collector.enrollment_token()
    async with collector.client() as one, collector.client() as two:
        answers = await asyncio.gather(
            *(client.post("/gateway/v1/enroll", json=asking(token.secret)) for client in (one, two) * 3)
        )
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403, 403]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(
    collector: RunningCollector, tmp_path: Path, announced: bool
) -> None:
    _, certificate = await collector.enrol(tmp_path)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield bytes(1 << 20)

    async with collector.client(certificate) as client:
        content = bytes(MAX_ENVELOPE_BYTES + 1) if announced else parts()
        answer = await client.post("/gateway/v1/batches", content=content)
        assert problem(answer) == (413, "too-large")


@pytest.mark.parametrize("key_id", ["zz", "00", "é"])
async def test_a_key_id_that_is_none_is_refused(
    collector: RunningCollector, tmp_path: Path, key_id: str
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        answer = await client.put(f"/gateway/v1/keys/{key_id}", content=sender.package)
        assert problem(answer) == (400, "malformed")


async def test_every_kind_of_refusal_can_be_looked_up(collector: RunningCollector, tmp_path: Path) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        await send(client, b"nonsense")
        await send(client, sender.seal([a_reading()]).body)
    async with collector.client() as client:
        await send(client, b"")
        await client.post("/gateway/v1/enroll", json=asking("guess"))
    async with await Store.open(collector.home.database) as store, store.read() as connection:
        rows = (await connection.execute(refusal.select().order_by(refusal.c.id))).all()
    assert [(row.gateway_id, row.code) for row in rows] == [
        (sender.gateway_id, "malformed"),
        (sender.gateway_id, "unknown-key"),
        ("", "no-certificate"),
        ("", "token-unknown"),
    ]


async def test_a_gateway_is_told_what_the_collectors_clock_shows(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        await send_key(client, sender)
        for answer in (
            await client.get("/gateway/v1/time"),
            await send(client, sender.seal([a_reading()]).body),
        ):
            assert answer.is_success
            assert answer.headers[CLOCK_HEADER] == str(NOW_MS)
    async with collector.client() as stranger:
        assert problem(await stranger.get("/gateway/v1/time")) == (401, "no-certificate")
