"""A gateway that asks to be taken back is an alert until somebody has decided."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from collector.identity.ca import CertificateAuthority
from collector.identity.gateways import revoke_gateway
from collector.identity.next_key import APPROVED, FORGOTTEN_AFTER_MS, REJECTED, NextKeys, decide
from collector.store import schema
from collector.store.engine import Store
from models.envelope import CollectorPrivateKey
from models.signing import key_code
from tests.support.building import Building
from tests.support.collector import Sender, StandingClock, a_key
from tests.support.next_keys import asking_next

CONDITION = "returning:gateway:gw-1"
QUIET = {"silent_gateway": {"enabled": False}}

Ask = Callable[[], Awaitable[str]]


@pytest.fixture
async def building(store: Store, standing: StandingClock) -> Building:
    return await Building.new(store, standing, detectors=QUIET)


@pytest.fixture
async def ask(building: Building) -> Ask:
    """Let the gateway ask, each time with another key; the code of that."""
    sender = Sender("gw-1", CollectorPrivateKey.generate().public_bytes())
    async with building.store.write() as connection:
        await connection.execute(insert(schema.gateway_key).values(a_key("gw-1", sender.public_key)))
    authority = CertificateAuthority.create(datetime.now(UTC))
    keys = NextKeys(building.store, authority, now_ms=building.standing.clock.now_ms)

    async def ask() -> str:
        new = Ed25519PrivateKey.generate()
        await keys.take_back(asking_next(sender, new))
        return key_code(new.public_key().public_bytes_raw())

    return ask


async def decided(building: Building, code: str, state: str) -> None:
    await decide(building.store, code, state=state, by="li", now_ms=building.now_ms)


async def revoked(building: Building, _code: str, _state: str) -> None:
    await revoke_gateway(building.store, "gw-1", by="li", now_ms=building.now_ms)


async def test_a_gateway_that_asks_is_one_alert_that_says_what_to_compare(
    building: Building, ask: Ask
) -> None:
    await building.silence(5)
    assert await building.alerts() == []
    asked_ms, code = building.now_ms, await ask()
    for _ in range(2):
        await building.silence(5)
        building.restart()
    assert await building.alerts() == [(CONDITION, "firing")]
    [alert] = await building.rows_of_alerts()
    assert (alert.opened_ms, alert.severity) == (asked_ms, "warning")
    for language in ("zh", "en"):
        assert alert.data["gateway"] in alert.data["title"][language]
        assert f"collector gateways approve {code}" in alert.data["text"][language]
    [told] = await building.rows(schema.outbox)
    assert code in str(told.message)


async def test_the_code_is_that_of_the_newest_question(building: Building, ask: Ask) -> None:
    await ask()
    await building.silence(5)
    code = await ask()
    await building.silence(5)
    [alert] = await building.rows_of_alerts()
    assert (alert.state, alert.data["code"]) == ("firing", code)
    assert len(await building.rows(schema.outbox)) == 1


@pytest.mark.parametrize(
    ("decision", "state"),
    [
        pytest.param(decided, APPROVED, id="approved"),
        pytest.param(decided, REJECTED, id="rejected"),
        pytest.param(revoked, "", id="revoked"),
    ],
)
async def test_it_ends_when_somebody_has_decided(
    building: Building, ask: Ask, decision: Callable[..., Awaitable[None]], state: str
) -> None:
    code = await ask()
    await building.silence(5)
    await decision(building, code, state)
    await building.silence(5)
    assert await building.alerts() == [(CONDITION, "resolved")]


async def test_who_was_rejected_and_asks_with_another_key_is_another_alert(
    building: Building, ask: Ask
) -> None:
    code = await ask()
    await building.silence(5)
    await decided(building, code, REJECTED)
    await building.silence(5)
    await ask()
    await building.silence(5)
    assert await building.alerts() == [(CONDITION, "resolved"), (CONDITION, "firing")]


async def test_it_ends_when_nobody_repeats_the_question(building: Building, ask: Ask) -> None:
    await ask()
    await building.silence(5)
    await building.silence(FORGOTTEN_AFTER_MS // 60_000)
    assert await building.alerts() == [(CONDITION, "resolved")]


async def test_it_can_be_switched_off(store: Store, standing: StandingClock) -> None:
    off: dict[str, Any] = QUIET | {"returning_gateway": {"enabled": False}}
    building = await Building.new(store, standing, detectors=off)
    async with store.write() as connection:
        await connection.execute(
            insert(schema.gateway_return).values(
                gateway_id="gw-1",
                code="ABCD-EFGH-JKLM",
                public_key=bytes(32),
                state="waiting",
                asked_ms=building.now_ms,
                last_asked_ms=building.now_ms,
            )
        )
    await building.silence(5)
    assert await building.alerts() == []
