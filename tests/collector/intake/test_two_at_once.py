"""Two collectors' intakes on one database, as `collector import` and `collector serve` have it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from collector.identity.gateways import revoke_gateway
from collector.identity.keyring import Keyring
from collector.intake.refusals import Refused
from collector.intake.service import Intake
from collector.store.engine import Store
from models.envelope import CollectorPrivateKey
from models.protocol import Code
from tests.collector.intake.conftest import Enrol, Query
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading


@contextlib.asynccontextmanager
async def another(store: Store, key: CollectorPrivateKey, standing: StandingClock) -> AsyncIterator[Intake]:
    """With connections of its own, as another process has."""
    async with (
        await Store.open(store.path) as opened,
        Intake(opened, Keyring.of(key), standing.clock) as intake,
    ):
        yield intake


@pytest.fixture
async def other(
    store: Store, private_key: CollectorPrivateKey, standing: StandingClock, intake: Intake
) -> AsyncIterator[Intake]:
    async with another(store, private_key, standing) as opened:
        yield opened


async def test_both_learn_the_same_new_devices_and_points_at_the_same_time(
    intake: Intake, other: Intake, sender: Sender, rows: Query
) -> None:
    def batch(number: int) -> bytes:
        return sender.seal(
            [
                a_reading(device=f"meter-{device}", point=point, at_ms=NOW_MS - 60_000 + number)
                for device in range(number, number + 5)
                for point in ("voltage_v", "energy_kwh")
            ]
        ).body

    bodies = [batch(number) for number in range(20)]
    turns = [
        (intake, other)[number % 2].accept(body, sender.gateway_id) for number, body in enumerate(bodies)
    ]
    for turn in turns[:10]:  # so that each has seen some, and then misses what the other has learned
        await turn
    await asyncio.gather(*turns[10:])
    assert rows("SELECT count(*), count(DISTINCT device_id) FROM device") == [(24, 24)]
    assert rows("SELECT count(*), count(DISTINCT device || name) FROM point") == [(48, 48)]
    assert rows("SELECT count(*) FROM reading") == [200]


async def test_what_one_has_taken_in_the_other_has_already(
    intake: Intake, other: Intake, sender: Sender, rows: Query
) -> None:
    first = sender.seal([a_reading(1.0)]).body
    assert not (await intake.accept(first, sender.gateway_id)).already
    assert (await other.accept(first, sender.gateway_id)).already
    assert not (
        await other.accept(sender.seal([a_reading(2.0, at_ms=NOW_MS)]).body, sender.gateway_id)
    ).already
    assert not (
        await intake.accept(sender.seal([a_reading(3.0, at_ms=NOW_MS - 1)]).body, sender.gateway_id)
    ).already
    assert rows("SELECT count(*) FROM device") == [1]
    assert rows("SELECT value FROM reading ORDER BY seq") == [1.0, 2.0, 3.0]


async def test_a_key_that_one_was_brought_opens_batches_at_the_other(
    intake: Intake, other: Intake, enrol: Enrol
) -> None:
    sender = await enrol("gw-0000000000aa")
    await other.accept_key(sender.package, sender.content_key.key_id, sender.gateway_id)
    assert (await intake.accept(sender.seal([a_reading()]).body, sender.gateway_id)).stored == 1


async def test_a_gateway_that_is_revoked_beside_both_is_refused_by_both(
    intake: Intake, other: Intake, sender: Sender, store: Store
) -> None:
    for at in (intake, other):
        await at.accept(sender.seal([a_reading(at_ms=NOW_MS - sender.number)]).body, sender.gateway_id)
    await revoke_gateway(store, sender.gateway_id, by="test", now_ms=NOW_MS)
    body = sender.seal([a_reading(at_ms=NOW_MS)]).body
    for at in (intake, other):
        with pytest.raises(Refused) as refused:
            await at.accept(body, sender.gateway_id)
        assert refused.value.code == Code.REVOKED
