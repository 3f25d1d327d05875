"""A gateway gets a certificate for its next key when its last key vouches for it, and nobody else does."""

import asyncio
import dataclasses
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.identity.ca import CertificateAuthority, RequestRefused
from collector.identity.enrolment import Enrolment
from collector.identity.gateways import keys_of, revoke_gateway
from collector.identity.keyring import Keyring
from collector.identity.next_key import (
    APPROVED,
    FORGOTTEN_AFTER_MS,
    REJECTED,
    GatewayRevoked,
    NextKeys,
    NoSuchRequest,
    decide,
    open_requests,
)
from collector.identity.strangers import AT_ONCE, EVERY_S, REMEMBERED, Strangers
from collector.identity.tokens import TokenRefused, issue_enrollment_secret
from collector.intake.refusals import Refused
from collector.store.engine import Store
from models.envelope import CollectorPrivateKey
from models.protocol import EnrollRequest
from models.signing import key_code
from models.times import HOUR_MS
from tests.support.collector import NOW_MS, Sender, StandingClock, add_site
from tests.support.next_keys import asking_next
from tests.support.running import A_SEAL_KEY, real_now

COLLECTOR_KEY = CollectorPrivateKey.generate().public_bytes()


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(real_now())


@pytest.fixture
def enrolment(store: Store, authority: CertificateAuthority, standing: StandingClock) -> Enrolment:
    return Enrolment(
        store,
        authority,
        Keyring.of(CollectorPrivateKey.generate()),
        bytes(32),
        now_ms=lambda: standing.now_ms,
    )


@pytest.fixture
def next_keys(store: Store, authority: CertificateAuthority, standing: StandingClock) -> NextKeys:
    return NextKeys(store, authority, now_ms=lambda: standing.now_ms)


def asking(sender: Sender, secret: str) -> EnrollRequest:
    return EnrollRequest(secret=secret, csr_pem=sender.csr_pem(), agent_version="t", seal_key=A_SEAL_KEY)


async def a_secret(store: Store) -> str:
    return await issue_enrollment_secret(store, site_code="a1", gateway_name="x", hours=1, now_ms=NOW_MS)


@pytest.fixture
async def sender(store: Store, enrolment: Enrolment) -> Sender:
    await add_site(store)
    sender = Sender("", COLLECTOR_KEY)
    answer = await enrolment.enrol(asking(sender, await a_secret(store)))
    return dataclasses.replace(sender, gateway_id=answer.gateway_id)


async def known_keys(store: Store, sender: Sender) -> list[bytes]:
    async with store.read() as connection:
        return [key.public_key for key in await keys_of(connection, sender.gateway_id)]


def changes(store: Store) -> list[tuple[str, str]]:
    connection = sqlite3.connect(store.path)
    try:
        return connection.execute("SELECT change, by FROM gateway_change ORDER BY id").fetchall()
    finally:
        connection.close()


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


async def test_a_lost_answer_to_an_enrolment_costs_no_token(
    store: Store, enrolment: Enrolment, standing: StandingClock
) -> None:
    await add_site(store)
    sender, secret = Sender("", COLLECTOR_KEY), await a_secret(store)
    first = await enrolment.enrol(asking(sender, secret))
    again = await enrolment.enrol(asking(sender, secret))
    assert (again.gateway_id, again.certificate_pem) == (first.gateway_id, first.certificate_pem)
    with pytest.raises(TokenRefused, match="used"):
        await enrolment.enrol(asking(Sender("", COLLECTOR_KEY), secret))
    assert [change for change, _ in changes(store)] == ["enrolled"]
    standing.now_ms += HOUR_MS
    with pytest.raises(TokenRefused):
        await enrolment.enrol(asking(sender, secret))


async def test_many_answers_lost_at_once_still_make_one_gateway(store: Store, enrolment: Enrolment) -> None:
    await add_site(store)
    secret = await a_secret(store)
    mine, other = Sender("", COLLECTOR_KEY), Sender("", COLLECTOR_KEY)
    results = await asyncio.gather(
        *(enrolment.enrol(asking(mine if n % 2 else other, secret)) for n in range(8)), return_exceptions=True
    )
    ids = {result.gateway_id for result in results if not isinstance(result, BaseException)}
    assert len(ids) == 1
    assert sum(isinstance(result, TokenRefused) for result in results) == 4


async def test_a_revoked_gateway_does_not_come_back_by_its_old_token(
    store: Store, enrolment: Enrolment
) -> None:
    await add_site(store)
    sender, secret = Sender("", COLLECTOR_KEY), await a_secret(store)
    answer = await enrolment.enrol(asking(sender, secret))
    await revoke_gateway(store, answer.gateway_id, by="test", now_ms=NOW_MS)
    with pytest.raises(TokenRefused, match="used"):
        await enrolment.enrol(asking(sender, secret))


async def test_a_renewal_certifies_the_next_key_and_a_lost_answer_is_given_again(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    new = Ed25519PrivateKey.generate()
    first = await next_keys.renew(asking_next(sender, new), sender.gateway_id)
    again = await next_keys.renew(asking_next(sender, new), sender.gateway_id)
    assert first == again
    assert load_pem_x509_certificate(first.certificate_pem.encode()).public_key() == new.public_key()
    assert await known_keys(store, sender) == [raw(new), sender.public_key]
    assert changes(store) == [("enrolled", sender.gateway_id), ("renewed", sender.gateway_id)]


async def test_a_next_key_that_was_never_used_makes_room_for_another(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    """Or a gateway that asks again and again could fill the table."""
    for _ in range(5):
        new = Ed25519PrivateKey.generate()
        await next_keys.renew(asking_next(sender, new), sender.gateway_id)
    assert await known_keys(store, sender) == [raw(new), sender.public_key]


async def test_only_the_last_key_can_vouch_for_the_next(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    stranger, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    for forged in (
        asking_next(sender, new, signer=stranger),
        asking_next(sender, new, signer=stranger, old=stranger),
        asking_next(sender, new, signer=new),
    ):
        with pytest.raises(Refused, match="bad-signature"):
            await next_keys.renew(forged, sender.gateway_id)
        with pytest.raises(Refused, match="bad-signature"):
            await next_keys.take_back(forged)
    with pytest.raises(Refused, match="foreign-gateway"):
        await next_keys.renew(asking_next(sender, new), "gw-another")
    assert await known_keys(store, sender) == [sender.public_key]
    assert changes(store) == [("enrolled", sender.gateway_id)]


async def test_a_gateway_that_asks_to_return_waits_until_somebody_approves(
    store: Store, next_keys: NextKeys, sender: Sender, standing: StandingClock
) -> None:
    new = Ed25519PrivateKey.generate()
    question, code = asking_next(sender, new), key_code(raw(new))
    for _ in range(3):
        answer = await next_keys.take_back(question)
        assert (answer.state, answer.code, answer.certificate_pem) == ("waiting", code, "")
    async with store.read() as connection:
        [row] = await open_requests(connection, NOW_MS)
    assert (row.gateway_id, row.code, row.site, row.state) == (sender.gateway_id, code, "a1", "waiting")
    gateway_id = await decide(
        store, code.lower(), state=APPROVED, by="li, at the command line", now_ms=NOW_MS
    )
    assert gateway_id == sender.gateway_id
    answer = await next_keys.take_back(question)
    assert answer.state == "approved"
    assert load_pem_x509_certificate(answer.certificate_pem.encode()).public_key() == new.public_key()
    assert await next_keys.take_back(question) == answer  # its first answer may have been lost
    assert changes(store) == [
        ("enrolled", sender.gateway_id),
        ("asked to return", sender.gateway_id),
        ("approved", "li, at the command line"),
        ("returned", sender.gateway_id),
    ]
    async with store.read() as connection:
        assert await open_requests(connection, NOW_MS) == []


async def test_an_approval_is_for_the_key_whose_code_was_compared_and_for_no_other(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    """Who has stolen the old key can ask too; the code shows that it is another question."""
    mine, thief = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    await next_keys.take_back(asking_next(sender, mine))
    await next_keys.take_back(asking_next(sender, thief))
    with pytest.raises(NoSuchRequest, match="collector gateways requests"):
        await decide(store, key_code(raw(mine)), state=APPROVED, by="li", now_ms=NOW_MS)
    await next_keys.take_back(asking_next(sender, mine))
    await decide(store, key_code(raw(mine)), state=APPROVED, by="li", now_ms=NOW_MS)
    assert (await next_keys.take_back(asking_next(sender, thief))).state == "waiting"
    assert await known_keys(store, sender) == [sender.public_key]


async def test_what_was_rejected_stays_so_until_somebody_thinks_better_of_it(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    new = Ed25519PrivateKey.generate()
    await next_keys.take_back(asking_next(sender, new))
    await decide(store, key_code(raw(new)), state=REJECTED, by="li", now_ms=NOW_MS)
    with pytest.raises(Refused, match="return-rejected"):
        await next_keys.take_back(asking_next(sender, new))
    await decide(store, key_code(raw(new)), state=APPROVED, by="wang", now_ms=NOW_MS)
    assert (await next_keys.take_back(asking_next(sender, new))).state == "approved"


async def test_a_revoked_gateway_can_neither_renew_nor_return(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    new = Ed25519PrivateKey.generate()
    await next_keys.take_back(asking_next(sender, new))
    await revoke_gateway(store, sender.gateway_id, by="test", now_ms=NOW_MS)
    for ask in (next_keys.take_back, lambda request: next_keys.renew(request, sender.gateway_id)):
        with pytest.raises(Refused, match="revoked"):
            await ask(asking_next(sender, new))
    with pytest.raises(GatewayRevoked):
        await decide(store, key_code(raw(new)), state=APPROVED, by="li", now_ms=NOW_MS)


async def test_a_question_that_nobody_repeats_is_forgotten(
    store: Store, next_keys: NextKeys, sender: Sender
) -> None:
    new = Ed25519PrivateKey.generate()
    await next_keys.take_back(asking_next(sender, new))
    with pytest.raises(NoSuchRequest):
        await decide(store, key_code(raw(new)), state=APPROVED, by="li", now_ms=NOW_MS + FORGOTTEN_AFTER_MS)


@pytest.mark.parametrize("field", ["old_key", "proof", "csr_pem"])
async def test_what_is_not_even_a_key_or_a_proof_is_refused_and_writes_nothing(
    store: Store, next_keys: NextKeys, sender: Sender, field: str
) -> None:
    for wrong in ("", "?", "AAAA", "门"):
        request = asking_next(sender, Ed25519PrivateKey.generate()).model_copy(update={field: wrong})
        with pytest.raises((Refused, RequestRefused)):
            await next_keys.take_back(request)
    unknown = asking_next(dataclasses.replace(sender, gateway_id="gw-none"), Ed25519PrivateKey.generate())
    with pytest.raises(Refused, match="does not know"):
        await next_keys.take_back(unknown)
    async with store.read() as connection:
        assert await open_requests(connection, NOW_MS) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 60)), min_size=1, max_size=200))
@settings(deadline=None)
def test_strangers_are_answered_at_their_rate_and_no_faster(asked: list[tuple[int, float]]) -> None:
    now_s = 0.0
    strangers = Strangers(lambda: now_s)
    answered: dict[int, list[float]] = {}
    for address, pause_s in asked:
        now_s += pause_s / 20
        wait_s = strangers.wait_s(f"192.0.2.{address}")
        assert 0 <= wait_s <= EVERY_S
        if wait_s == 0:
            answered.setdefault(address, []).append(now_s)
    for times in answered.values():
        for start, began_s in enumerate(times):
            for end, ended_s in enumerate(times[start:], 1):
                assert end <= AT_ONCE + 1 + (ended_s - began_s) / EVERY_S


def test_one_stranger_does_not_keep_another_from_asking() -> None:
    strangers = Strangers(lambda: 0.0)
    assert [strangers.wait_s("198.51.100.7") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    assert all(strangers.wait_s("198.51.100.7") > 0 for _ in range(10_000))
    assert strangers.wait_s("192.0.2.1") == 0.0


def test_a_flood_from_many_addresses_is_bounded_in_work_and_memory() -> None:
    now_s = 0.0
    strangers = Strangers(lambda: now_s)
    answered = 0
    for number in range(3 * REMEMBERED):
        now_s += 0.001
        answered += strangers.wait_s(f"2001:db8::{number:x}") == 0.0
    assert answered < 3 * AT_ONCE * 10
    assert len(strangers._due_s) <= REMEMBERED
