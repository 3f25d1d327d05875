"""A token is good once, or for its time; the collector itself does not know it any more."""

import asyncio
import base64
import math
import sqlite3

import pytest
from sqlalchemy import insert

from collector.identity.ca import CertificateAuthority, RequestRefused
from collector.identity.enrolment import Enrolment
from collector.identity.gateways import NoSuchGateway, keys_of, revoke_gateway
from collector.identity.keyring import Keyring
from collector.identity.tokens import (
    ApiIdentity,
    TokenMistake,
    TokenRefused,
    issue_api_token,
    issue_enrollment_secret,
    list_api_tokens,
    revoke_api_token,
    verify_api_token,
)
from collector.store.engine import Store
from collector.store.schema import gateway
from models.envelope import CollectorPrivateKey
from models.protocol import EnrollRequest, EnrollResponse
from models.times import DAY_MS, HOUR_MS
from tests.support.collector import NOW_MS, Sender, add_site
from tests.support.running import A_SEAL_KEY, real_now, real_now_ms


@pytest.fixture
def enrolment(store: Store) -> Enrolment:
    return Enrolment(
        store, CertificateAuthority.create(real_now()), Keyring.of(CollectorPrivateKey.generate()), bytes(32)
    )


@pytest.fixture
def sender() -> Sender:
    return Sender("", CollectorPrivateKey.generate().public_bytes())


def asking(sender: Sender, secret: str, seal_key: str = A_SEAL_KEY) -> EnrollRequest:
    return EnrollRequest(secret=secret, csr_pem=sender.csr_pem(), agent_version="test", seal_key=seal_key)


def database(store: Store) -> bytes:
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return store.path.read_bytes()


async def test_a_token_admits_one_gateway_to_its_site(
    store: Store, enrolment: Enrolment, sender: Sender
) -> None:
    await add_site(store, "a1")
    secret = await issue_enrollment_secret(
        store, site_code="a1", gateway_name="North", hours=1, now_ms=real_now_ms()
    )
    response = await enrolment.enrol(asking(sender, secret))
    assert (response.site_code, response.gateway_id[:3]) == ("a1", "gw-")
    async with store.read() as connection:
        [row] = (await connection.execute(gateway.select())).all()
        [key] = await keys_of(connection, row.id)
    assert (row.id, row.site_id, row.name, row.state) == (response.gateway_id, 1, "North", "active")
    assert (key.public_key, key.is_used) == (sender.public_key, False)
    with pytest.raises(TokenRefused) as refused:
        await enrolment.enrol(asking(Sender("", sender.collector_key), secret))
    assert refused.value.code == "token-used"
    assert secret.encode() not in database(store)


@pytest.mark.parametrize(
    ("issued_hours_ago", "code"), [pytest.param(2, "token-expired", id="expired"), (None, "token-unknown")]
)
async def test_a_token_that_is_no_longer_good_admits_nobody(
    store: Store, enrolment: Enrolment, sender: Sender, issued_hours_ago: int | None, code: str
) -> None:
    await add_site(store, "a1")
    secret = "never given out"
    if issued_hours_ago is not None:
        issued_ms = real_now_ms() - issued_hours_ago * HOUR_MS
        secret = await issue_enrollment_secret(
            store, site_code="a1", gateway_name="x", hours=1, now_ms=issued_ms
        )
    with pytest.raises(TokenRefused) as refused:
        await enrolment.enrol(asking(sender, secret))
    assert refused.value.code == code
    async with store.read() as connection:
        assert (await connection.execute(gateway.select())).all() == []


@pytest.mark.parametrize(
    ("seal_key", "what"),
    [
        pytest.param("?", "not base64", id="no-base64"),
        pytest.param("AAAA", "has 3 bytes", id="short"),
        pytest.param(base64.b64encode(bytes(32)).decode(), "nothing can be sealed", id="no-key"),
    ],
)
async def test_a_gateway_that_no_secret_could_be_sealed_for_is_not_admitted_and_its_token_stays_good(
    store: Store, enrolment: Enrolment, sender: Sender, seal_key: str, what: str
) -> None:
    await add_site(store, "a1")
    secret = await issue_enrollment_secret(
        store, site_code="a1", gateway_name="x", hours=1, now_ms=real_now_ms()
    )
    with pytest.raises(RequestRefused, match=what):
        await enrolment.enrol(asking(sender, secret, seal_key))
    assert (await enrolment.enrol(asking(sender, secret))).site_code == "a1"


async def test_of_many_enrolments_with_one_token_exactly_one_succeeds(
    store: Store, enrolment: Enrolment
) -> None:
    await add_site(store, "a1")
    secret = await issue_enrollment_secret(
        store, site_code="a1", gateway_name="x", hours=1, now_ms=real_now_ms()
    )
    key = CollectorPrivateKey.generate().public_bytes()
    results = await asyncio.gather(
        *(enrolment.enrol(asking(Sender("", key), secret)) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, EnrollResponse) for result in results) == 1
    assert sum(isinstance(result, TokenRefused) and result.code == "token-used" for result in results) == 7


@pytest.mark.parametrize("hours", [0, -1, 24.1])
async def test_an_enrolment_token_lives_a_day_at_most(store: Store, hours: float) -> None:
    await add_site(store, "a1")
    with pytest.raises(TokenMistake, match="at most 24 hours"):
        await issue_enrollment_secret(store, site_code="a1", gateway_name="x", hours=hours, now_ms=NOW_MS)


async def test_a_token_for_an_unknown_site_is_not_made(store: Store) -> None:
    with pytest.raises(TokenMistake, match="collector site add"):
        await issue_enrollment_secret(store, site_code="b2", gateway_name="x", hours=1, now_ms=NOW_MS)
    await add_site(store, "a1")
    with pytest.raises(TokenMistake, match="have: a1"):
        await issue_api_token(store, name="x", scopes=["read"], sites=["b2"], days=1, now_ms=NOW_MS)


async def test_an_api_token_says_who_may_do_what_until_it_ends(store: Store) -> None:
    await add_site(store, "a1")
    text = await issue_api_token(
        store, name="platform", scopes=["read", "alerts:write"], sites=["a1"], days=2, now_ms=NOW_MS
    )
    everywhere = await issue_api_token(store, name="duty", scopes=["read"], sites=None, days=2, now_ms=NOW_MS)
    assert text.startswith("ght_")
    assert await verify_api_token(store, text, now_ms=NOW_MS + DAY_MS) == ApiIdentity(
        "platform", frozenset({"read", "alerts:write"}), frozenset({"a1"})
    )
    identity = await verify_api_token(store, everywhere, now_ms=NOW_MS)
    assert identity is not None
    assert identity.sites is None
    assert await verify_api_token(store, text, now_ms=NOW_MS + 2 * DAY_MS) is None
    assert await verify_api_token(store, text + "x", now_ms=NOW_MS) is None
    assert text.encode() not in database(store)


async def test_a_revoked_api_token_is_worth_nothing_and_stays_in_the_list(store: Store) -> None:
    text = await issue_api_token(store, name="p", scopes=["read"], sites=None, days=2, now_ms=NOW_MS)
    await revoke_api_token(store, "p", now_ms=NOW_MS + 5)
    await revoke_api_token(store, "p", now_ms=NOW_MS + 9)
    assert await verify_api_token(store, text, now_ms=NOW_MS + 5) is None
    [row] = await list_api_tokens(store)
    assert (row.name, row.scopes, row.sites, row.revoked_ms) == ("p", ["read"], None, NOW_MS + 5)
    with pytest.raises(TokenMistake, match="no token named 'q'"):
        await revoke_api_token(store, "q", now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("scopes", "days", "what"),
    [
        ([], 1, "none at all"),
        (["write"], 1, "not write"),
        *((["read"], days, "at most 3650 days") for days in (0, -1, 3651, 1e300, math.inf, math.nan)),
    ],
)
async def test_an_api_token_that_cannot_be_is_not_made(
    store: Store, scopes: list[str], days: float, what: str
) -> None:
    with pytest.raises(TokenMistake, match=what):
        await issue_api_token(store, name="p", scopes=scopes, sites=None, days=days, now_ms=NOW_MS)


async def test_two_api_tokens_cannot_have_one_name(store: Store) -> None:
    await issue_api_token(store, name="p", scopes=["read"], sites=None, days=2, now_ms=NOW_MS)
    with pytest.raises(TokenMistake, match="choose another name"):
        await issue_api_token(store, name="p", scopes=["read"], sites=None, days=2, now_ms=NOW_MS)


async def test_revoking_an_unknown_gateway_is_a_mistake(store: Store) -> None:
    site_id = await add_site(store, "a1")
    async with store.write() as connection:
        await connection.execute(
            insert(gateway).values(
                id="gw-1",
                site_id=site_id,
                name="x",
                state="active",
                seal_key=b"",
                enrolled_ms=0,
            )
        )
    assert await revoke_gateway(store, "gw-1", by="test", now_ms=NOW_MS)
    assert not await revoke_gateway(store, "gw-1", by="test", now_ms=NOW_MS)
    with pytest.raises(NoSuchGateway):
        await revoke_gateway(store, "gw-2", by="test", now_ms=NOW_MS)
