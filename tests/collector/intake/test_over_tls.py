"""Gateways at the wire: enrolment, certificates, keys and batches over real TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_pem_x509_certificate
from sqlalchemy import delete

from collector.identity.ca import CertificateAuthority, GatewayRequest
from collector.identity.gateways import revoke_gateway
from collector.store.engine import Store
from collector.store.schema import gateway_key, gateway_return, refusal
from models.envelope import (
    FIRST_PREVIOUS,
    MAX_ENVELOPE_BYTES,
    STANDARD,
    CollectorPrivateKey,
    ContentKey,
    seal,
)
from models.protocol import CLOCK_HEADER, EnrollRequest, EnrollResponse, Receipt
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading
from tests.support.next_keys import P256Signer, asking_next
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
    certificate = other.certify_gateway(request.public_key, "gw-000000000001", datetime.now(UTC))
    foreign.write_bytes(key_pem(key) + certificate.public_bytes(Encoding.PEM))
    async with collector.client(foreign) as client:
        await rejects_in_the_handshake(client)


async def test_the_servers_own_certificate_makes_nobody_a_gateway(collector: RunningCollector) -> None:
    async with collector.client(collector.home.server_certificate) as client:
        await rejects_in_the_handshake(client)


@pytest.mark.parametrize("begins", [datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=2)])
async def test_a_gateway_whose_certificate_is_not_in_its_time_hears_so_and_nothing_is_taken(
    collector: RunningCollector, tmp_path: Path, begins: datetime
) -> None:
    sender, _ = await collector.enrol(tmp_path)
    certificate = collector.home.authority().certify_gateway(
        sender.signing_key.public_key(), sender.gateway_id, begins
    )
    ended = tmp_path / "ended.pem"
    ended.write_bytes(key_pem(sender.signing_key) + certificate.public_bytes(Encoding.PEM))
    async with collector.client(ended) as client:
        assert problem(await send_key(client, sender)) == (401, "certificate-ended")
        assert problem(await send(client, sender.seal([a_reading()]).body)) == (401, "certificate-ended")
        assert problem(await client.get("/gateway/v1/time")) == (401, "certificate-ended")


async def test_a_key_that_was_certified_before_the_database_was_restored_is_known_again(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """The certificate is the authority's word. It does not bring a revoked gateway back."""
    sender, certificate = await collector.enrol(tmp_path)
    new, renewed_certificate = await renewed(collector, sender, certificate, tmp_path)
    other, other_certificate = await collector.enrol(tmp_path)
    other_new, other_renewed = await renewed(collector, other, other_certificate, tmp_path)
    async with await Store.open(collector.home.database) as store:
        async with store.write() as connection:  # as yesterday's backup is
            await connection.execute(delete(gateway_key).where(gateway_key.c.number > 1))
        await revoke_gateway(store, other.gateway_id, by="test", now_ms=NOW_MS)
    async with collector.client(renewed_certificate) as client:
        sender.signing_key = new
        sender.restart()
        assert (await send_key(client, sender)).status_code == 204
        assert (await send(client, sender.seal([a_reading()]).body)).status_code == 200
    async with collector.client(other_renewed) as client:
        other.signing_key = other_new
        other.restart()
        assert problem(await send_key(client, other)) == (403, "revoked")


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
            await revoke_gateway(beside, sender.gateway_id, by="test", now_ms=NOW_MS)
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


async def renewed(
    collector: RunningCollector, sender: Sender, certificate: Path, folder: Path
) -> tuple[Ed25519PrivateKey, Path]:
    """The next key of the gateway, and the file with its certificate."""
    new = Ed25519PrivateKey.generate()
    async with collector.client(certificate) as client:
        answer = await client.post(
            "/gateway/v1/certificate", content=asking_next(sender, new).model_dump_json()
        )
    assert answer.status_code == 200, answer.text
    path = folder / f"renewed-{sender.gateway_id}.pem"
    path.write_bytes(key_pem(new) + answer.json()["certificate_pem"].encode())
    return new, path


async def test_what_was_sealed_before_a_renewal_is_taken_after_it(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    waiting = [sender.seal([a_reading(float(n))]).body for n in range(2)]
    new, next_certificate = await renewed(collector, sender, certificate, tmp_path)
    async with collector.client(next_certificate) as client:
        await send_key(client, sender)  # the package of the old content key, signed by the old key
        assert (await send(client, waiting[0])).status_code == 200
        sender.signing_key = new
        fresh = sender.seal([a_reading(7.0)]).body  # the content key stays, the signature is of the new key
        assert (await send(client, waiting[1])).status_code == 200
        assert (await send(client, fresh)).status_code == 200
        sender.restart()
        assert (await send_key(client, sender)).status_code == 204
        assert (await send(client, sender.seal([a_reading(8.0)]).body)).status_code == 200
        sender.signing_key = Ed25519PrivateKey.generate()
        assert problem(await send(client, sender.seal([a_reading()]).body)) == (422, "bad-signature")
    async with collector.client(certificate) as client:  # still good: its answer to a batch may be under way
        assert (await send(client, waiting[0])).json()["already"]


async def test_a_gateway_that_is_revoked_gets_no_answer_of_any_kind_on_the_connection_that_it_has(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await collector.enrol(tmp_path)
    async with collector.client(certificate) as client:
        assert (await client.get("/gateway/v1/time")).status_code == 204
        async with await Store.open(collector.home.database) as beside:
            await revoke_gateway(beside, sender.gateway_id, by="test", now_ms=NOW_MS)
        question = asking_next(sender, Ed25519PrivateKey.generate()).model_dump_json()
        for answer in (
            await client.get("/gateway/v1/time"),
            await client.get("/gateway/v1/commands"),
            await send_key(client, sender),
            await send(client, sender.seal([a_reading()]).body),
            await client.post("/gateway/v1/certificate", content=question),
            await client.post("/gateway/v1/return", content=question),
        ):
            assert problem(answer) == (403, "revoked")


async def test_a_stranger_who_asks_to_be_taken_back_is_slowed_down_and_leaves_nothing(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, _ = await collector.enrol(tmp_path)
    forged = asking_next(sender, Ed25519PrivateKey.generate(), signer=Ed25519PrivateKey.generate())
    seen = set()
    async with collector.client() as client:
        for body in (b"", b"{}", b"\xff" * 100, forged.model_dump_json().encode()) * 10:
            answer = await client.post("/gateway/v1/return", content=body)
            seen.add(problem(answer))
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert seen == {(400, "malformed"), (422, "bad-signature"), (503, "busy")}
    async with await Store.open(collector.home.database) as store, store.read() as connection:
        assert (await connection.execute(gateway_return.select())).all() == []


async def test_a_gateway_may_have_a_p256_key_as_chips_have(
    collector: RunningCollector, tmp_path: Path
) -> None:
    token = await collector.enrollment_token()
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    body = asking(token.secret, csr.public_bytes(Encoding.PEM).decode())
    async with collector.client() as client:
        answer = EnrollResponse.model_validate((await client.post("/gateway/v1/enroll", json=body)).json())
    path = tmp_path / "p256.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + answer.certificate_pem.encode())
    signer = P256Signer(key)
    content_key, package = ContentKey.fresh(
        gateway_id=answer.gateway_id,
        collector_key=collector.home.keyring().current(STANDARD).public_bytes(),
        signing_key=signer,
    )

    def sealed(number: int, signed_by: P256Signer) -> bytes:
        return seal(
            [a_reading()],
            gateway_id=answer.gateway_id,
            epoch=bytes(range(16)),
            number=number,
            first_seq=number,
            previous=FIRST_PREVIOUS,
            content_key=content_key,
            signing_key=signed_by,
        ).body

    async with collector.client(path) as client:
        kept = await client.put(f"/gateway/v1/keys/{content_key.key_id.hex()}", content=package)
        assert kept.status_code == 204
        assert (await send(client, sealed(1, signer))).status_code == 200
        other = P256Signer(ec.generate_private_key(ec.SECP256R1()))
        assert problem(await send(client, sealed(2, other))) == (422, "bad-signature")
