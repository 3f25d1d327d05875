"""Enrolment against a server that is who it says, and against others."""

import asyncio
import base64
import contextlib
import json
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.identity.certificates import CertificateUnusable
from edge_agent.identity.enroll import AlreadyEnrolled, EnrolmentRefused, enroll
from edge_agent.identity.folder import (
    Identity,
    IdentityDamaged,
    NameUnusable,
    NotEnrolled,
    collector_names,
    identity_folder,
    load_identity,
)
from edge_agent.identity.lock import OPEN
from edge_agent.tls import CollectorNotTrusted, CollectorUnreachable
from models.command import CommandKey
from models.errors import NeedsAHuman
from models.protocol import EnrollmentToken, EnrollRequest
from tests.support.certificates import WRONG_SERVERS, Authority
from tests.support.https import LOST, Answer, Collector, but_lost, problem


async def enrolled(collector: Collector, state_dir: Path, *, again: bool = False) -> Identity:
    return await asyncio.to_thread(enroll, collector.token, state_dir=state_dir, again=again)


def same(one: Identity, other: Identity) -> bool:
    keys = [identity.signing_key.private_bytes_raw() for identity in (one, other)]
    return keys[0] == keys[1] and one.collector == other.collector and one.certificate == other.certificate


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector().serve() as server:
        yield server


async def test_a_token_makes_the_gateway_one_of_the_collectors(collector: Collector, tmp_path: Path) -> None:
    identity = await enrolled(collector, tmp_path)
    assert same(identity, load_identity(tmp_path))
    assert (identity.gateway_id, identity.collector.site_code) == ("gw-1", "a1")
    assert identity.collector.collector_key == collector.private_key.public_bytes()
    assert identity.collector.command_key == collector.command_key.public_bytes()
    assert identity.signing_key.public_key() == collector.public_key
    assert collector.paths() == ["POST /gateway/v1/enroll"]


async def test_the_key_never_leaves_and_only_its_owner_can_read_it(
    collector: Collector, tmp_path: Path
) -> None:
    identity = await enrolled(collector, tmp_path)
    secret = identity.signing_key.private_bytes_raw()
    pem = (identity.folder / "gateway.pem").read_text()
    for name in ("gateway.pem", "seal.key"):
        assert stat.S_IMODE((identity.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.folder.stat().st_mode) == 0o700
    sent = b"".join(request.body for request in collector.requests)
    assert b"PRIVATE" not in sent
    shown = repr(identity)
    assert secret.hex() not in shown
    assert not any(line in shown for line in pem.splitlines())


async def test_enrolling_twice_is_refused_unless_it_is_meant(collector: Collector, tmp_path: Path) -> None:
    first = await enrolled(collector, tmp_path)
    with pytest.raises(AlreadyEnrolled, match="enrolled already, as gw-1"):
        await enrolled(collector, tmp_path)
    assert len(collector.requests) == 1
    collector.gateway_id = "gw-2"
    second = await enrolled(collector, tmp_path, again=True)
    assert second.gateway_id == "gw-2"
    assert second.signing_key.public_key() != first.signing_key.public_key()
    assert len(_before(tmp_path)) == 1


async def test_a_gateway_is_somebody_else_at_each_of_its_collectors(tmp_path: Path) -> None:
    async with Collector().serve() as city, Collector(gateway_id="gw-9").serve() as county:
        here = await enrolled(city, tmp_path)
        there = await asyncio.to_thread(enroll, county.token, state_dir=tmp_path, name="county-2")
    assert collector_names(tmp_path) == ["county-2", "main"]
    assert same(load_identity(tmp_path), here)
    assert same(load_identity(tmp_path, "county-2"), there)
    assert (here.gateway_id, there.gateway_id) == ("gw-1", "gw-9")
    assert here.signing_key.public_key() != there.signing_key.public_key()
    with pytest.raises(NotEnrolled, match="edge-agent enroll TOKEN --collector area"):
        load_identity(tmp_path, "area")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "main.new", "-x", "县", "x" * 41, "a\n"])
async def test_what_is_no_name_of_a_collector_names_no_folder(
    collector: Collector, tmp_path: Path, name: str
) -> None:
    with pytest.raises(NameUnusable, match="letters, digits and dashes"):
        await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path, name=name)
    assert collector.requests == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


def _before(state_dir: Path) -> list[Path]:
    return list(state_dir.glob("identity/main.before-*"))


async def test_a_failed_enrolment_leaves_the_old_identity_in_force(
    collector: Collector, tmp_path: Path
) -> None:
    first = await enrolled(collector, tmp_path)
    collector.secret = "another"
    with pytest.raises(EnrolmentRefused):
        await asyncio.to_thread(
            enroll,
            EnrollmentToken(url=collector.url, ca_certificate_der=collector.authority.der, secret="wrong"),
            state_dir=tmp_path,
            again=True,
        )
    assert same(first, load_identity(tmp_path))


@pytest.mark.parametrize(
    ("code", "told"),
    [("token-unknown", "does not know"), ("token-used", "has been used"), ("token-expired", "has expired")],
)
async def test_a_token_that_is_no_good_is_explained(
    collector: Collector, tmp_path: Path, code: str, told: str
) -> None:
    collector.script.append(problem(403, code))
    with pytest.raises(EnrolmentRefused, match=told) as refused:
        await enrolled(collector, tmp_path)
    assert refused.value.code == code
    assert collector.secret not in str(refused.value)
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)


@pytest.mark.parametrize("reason", WRONG_SERVERS)
async def test_not_one_byte_goes_to_a_server_that_cannot_prove_who_it_is(tmp_path: Path, reason: str) -> None:
    collector = Collector()
    async with collector.serve(WRONG_SERVERS[reason](collector.authority)):
        with pytest.raises(CollectorNotTrusted, match="nothing was sent") as refused:
            await enrolled(collector, tmp_path)
    assert refused.value.reason == reason
    assert (collector.requests, collector.payload_bytes) == ([], 0)


async def test_an_address_where_nobody_answers_is_named(tmp_path: Path) -> None:
    collector = Collector()
    async with collector.serve():
        url = collector.url
    with pytest.raises(CollectorUnreachable, match=f"{re.escape(url)}: .*refused"):
        await enrolled(collector, tmp_path)


@pytest.mark.parametrize("answer", [LOST, Answer(500), Answer(502, b"<html>")])
async def test_a_server_in_trouble_is_no_refusal(
    collector: Collector, tmp_path: Path, answer: Answer
) -> None:
    collector.script.append(answer)
    with pytest.raises(CollectorUnreachable):
        await enrolled(collector, tmp_path)
    await enrolled(collector, tmp_path)


@pytest.mark.parametrize("answer", [Answer(404, b"not found"), Answer(201, b"{}"), Answer(201, b"\xff")])
async def test_an_answer_that_is_none_of_a_collector_is_refused(
    collector: Collector, tmp_path: Path, answer: Answer
) -> None:
    collector.script.append(answer)
    with pytest.raises(EnrolmentRefused):
        await enrolled(collector, tmp_path)


async def test_a_token_for_an_unencrypted_address_is_refused(tmp_path: Path) -> None:
    token = EnrollmentToken(url="http://127.0.0.1:1", ca_certificate_der=Authority.make().der, secret="s")
    with pytest.raises(NeedsAHuman, match="not https"):
        enroll(token, state_dir=tmp_path)


async def test_a_certificate_that_does_not_fit_is_not_kept(collector: Collector, tmp_path: Path) -> None:
    other = Authority.make()
    right, collector.authority = collector.authority, other
    token = EnrollmentToken(url=collector.url, ca_certificate_der=right.der, secret=collector.secret)
    with pytest.raises(CertificateUnusable, match="not signed by the CA"):
        await asyncio.to_thread(enroll, token, state_dir=tmp_path)
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)


@pytest.mark.parametrize("proof", ["of nothing", "of another key", "for another gateway", "not base64"])
async def test_a_key_for_commands_that_the_ca_of_the_token_does_not_vouch_for_is_not_obeyed(
    collector: Collector, tmp_path: Path, proof: str
) -> None:
    """Who has the server's key, but not the authority's, cannot make a gateway open doors."""

    def forged(answer: Answer) -> Answer:
        fields = json.loads(answer.body)
        if proof == "of another key":
            fields["command_key"] = base64.b64encode(CommandKey.generate().public_bytes()).decode()
        elif proof == "for another gateway":
            fields["command_key_proof"] = json.loads(other.body)["command_key_proof"]
        else:
            fields["command_key_proof"] = "" if proof == "of nothing" else "###"
        return Answer(201, json.dumps(fields).encode())

    collector.gateway_id = "gw-2"
    other: Answer = LOST

    def remember(answer: Answer) -> Answer:
        nonlocal other
        other = answer
        return answer

    collector.script.append(remember)
    await enrolled(collector, tmp_path / "other")
    collector.gateway_id = "gw-1"
    collector.script.append(forged)
    with pytest.raises(CertificateUnusable):
        await enrolled(collector, tmp_path / "mine")
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path / "mine")


@pytest.mark.parametrize("name", ["gateway.pem", "seal.key", "ca.der", "collector.json"])
async def test_a_damaged_file_of_the_identity_is_named_without_showing_it(
    collector: Collector, tmp_path: Path, name: str
) -> None:
    identity = await enrolled(collector, tmp_path)
    (identity.folder / name).write_bytes(b"-----BEGIN nothing")
    with pytest.raises(IdentityDamaged, match="enrol again"):
        load_identity(tmp_path)


async def test_another_key_beside_the_certificate_is_noticed(collector: Collector, tmp_path: Path) -> None:
    identity = await enrolled(collector, tmp_path)
    certificate = identity.certificate.public_bytes(Encoding.PEM)
    (identity.folder / "gateway.pem").write_bytes(OPEN.pem(Ed25519PrivateKey.generate()) + certificate)
    with pytest.raises(IdentityDamaged, match="another key"):
        load_identity(tmp_path)


async def test_an_enrolment_that_lost_power_at_its_last_step_is_finished(
    collector: Collector, tmp_path: Path
) -> None:
    identity = await enrolled(collector, tmp_path)
    folder = identity_folder(tmp_path)
    folder.rename(folder.with_name("main.new"))
    assert same(identity, load_identity(tmp_path))


async def test_the_rest_of_an_attempt_that_lost_power_is_thrown_away(
    collector: Collector, tmp_path: Path
) -> None:
    fresh = tmp_path / "identity" / "main.new"
    fresh.mkdir(parents=True)
    (fresh / "gateway.pem").write_text("half")
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)
    await enrolled(collector, tmp_path)
    with contextlib.suppress(FileNotFoundError):
        assert not list(fresh.iterdir())


async def test_an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_keys_and_token(
    collector: Collector, tmp_path: Path
) -> None:
    collector.script.append(but_lost)
    with pytest.raises(CollectorUnreachable):
        await enrolled(collector, tmp_path)
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)
    await enrolled(collector, tmp_path)
    first, second = (EnrollRequest.model_validate_json(request.body) for request in collector.requests)
    assert (first.csr_pem, first.seal_key) == (second.csr_pem, second.seal_key)
    assert (first.sm2_key and first.sm2_key.public_key) == (second.sm2_key and second.sm2_key.public_key)
    left = await asyncio.to_thread(os.listdir, identity_folder(tmp_path))
    assert sorted(left) == ["ca.der", "collector.json", "gateway.pem", "seal.key"]


async def test_another_token_or_a_refusal_makes_other_keys(collector: Collector, tmp_path: Path) -> None:
    collector.script.append(but_lost)
    with pytest.raises(CollectorUnreachable):
        await enrolled(collector, tmp_path)
    collector.secret = "another"
    collector.script.append(problem(403, "token-used"))
    with pytest.raises(EnrolmentRefused):
        await enrolled(collector, tmp_path)
    await enrolled(collector, tmp_path)
    keys = [EnrollRequest.model_validate_json(request.body).csr_pem for request in collector.requests]
    assert len(set(keys)) == 3
