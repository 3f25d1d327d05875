"""What is kept of pushed configurations, whatever gateways say and in whichever order they say it."""

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.control import pushes
from collector.control.configurations import Push, PushMistake
from collector.control.desk import CommandDesk
from collector.identity.gateways import revoke_gateway
from collector.store import schema
from collector.store.engine import Store
from models.command import CommandKey, verify_command
from models.configuration import (
    ConfigReport,
    digest_of,
    told_files,
    unpack_files,
    verify_configuration,
)
from models.reading import GATEWAY, Event
from models.times import DAY_MS
from tests.support.collector import NOW_MS, StandingClock, add_site
from tests.support.meters import add_gateway

KEY = CommandKey.from_bytes(bytes(range(32)))
FILES = {"gateway.yaml": b"devices: []\n"}
OTHER = {"gateway.yaml": b"devices: []\nbuses: []\n"}


@pytest.fixture
async def desk(store: Store, standing: StandingClock) -> CommandDesk:
    """At a site with two gateways."""
    site_id = await add_site(store)
    for number in (1, 2):
        await add_gateway(store, site_id, f"gw-{number}")
    return CommandDesk(store, standing.clock, KEY)


def a_push(**changed: Any) -> Push:
    fields: dict[str, Any] = {
        "id": "p-1",
        "gateway_id": "gw-1",
        "files": FILES,
        "why": "new meters",
        "confirm_s": 120.0,
        "life_ms": DAY_MS,
        "by": "platform",
    }
    return Push(**fields | changed)


def told(kind: str, push_id: str = "p-1", *, version: int = 0, at_ms: int = NOW_MS, **facts: Any) -> Event:
    report = ConfigReport(
        origin=facts.pop("origin", "collector"), by="platform", id=push_id, version=version, **facts
    )
    data = msgspec.to_builtins(report)
    return Event(device_id=GATEWAY, kind=f"config.{kind}", data=data, measured_ms=at_ms, received_ms=at_ms)


def active(version: int, files: dict[str, bytes], **facts: Any) -> Event:
    facts = {"digest": digest_of(files), "content": told_files(files), "origin": "on-site"} | facts
    return told("applied", "", version=version, **facts)


async def settle(store: Store, *events: Event, gateway_id: str = "gw-1") -> None:
    await store.bulk(lambda connection: pushes.settle(connection, 1, gateway_id, events, NOW_MS))


async def rows(store: Store, table: Any = schema.configuration) -> list[Any]:
    async with store.read() as connection:
        return list((await connection.execute(select(table))).all())


async def states(store: Store) -> list[str]:
    return [row.state for row in await rows(store, schema.configuration_change)]


async def offered(desk: CommandDesk, *got: str, everything: bool = False, to: str = "gw-1") -> list[bytes]:
    return await desk.offers(to, got=got, everything=everything, wait_s=0)


async def test_what_is_pushed_is_signed_for_its_gateway_alone(desk: CommandDesk, store: Store) -> None:
    await desk.configurations.push(a_push())
    assert await offered(desk, to="gw-2") == []
    [signed] = await offered(desk)
    pushed = verify_configuration(signed, gateway_id="gw-1", public_key=KEY.public_bytes(), now_ms=NOW_MS)
    assert unpack_files(pushed.packed) == FILES
    assert (pushed.base, pushed.issued_by, pushed.why) == ("", "platform", "new meters")
    with pytest.raises(Exception, match="not a command"):
        verify_command(signed, gateway_id="gw-1", public_key=KEY.public_bytes(), now_ms=NOW_MS)
    assert await offered(desk, "p-1") == []
    assert len(await offered(desk, everything=True)) == 1
    assert await states(store) == ["waiting", "sent"]


async def test_the_same_push_again_changes_nothing_and_another_with_its_key_is_refused(
    desk: CommandDesk, store: Store
) -> None:
    await desk.configurations.push(a_push())
    await desk.configurations.push(a_push())
    assert len(await rows(store)) == 1
    with pytest.raises(PushMistake, match="choose a new key"):
        await desk.configurations.push(a_push(files=OTHER))


async def test_numbers_rise_whatever_the_clock_does(
    desk: CommandDesk, store: Store, standing: StandingClock
) -> None:
    for number in range(3):
        await desk.configurations.push(a_push(id=f"p-{number}"))
        standing.now_ms -= 1000
    numbers = [row.number for row in sorted(await rows(store), key=lambda row: row.id)]
    assert numbers == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


async def test_a_push_is_a_change_of_what_the_gateway_has_told_last(desk: CommandDesk, store: Store) -> None:
    await settle(store, active(1, FILES), active(2, OTHER, at_ms=NOW_MS + 5))
    await desk.configurations.push(a_push())
    await desk.configurations.push(a_push(id="p-2", base=""))
    assert [row.base for row in await rows(store)] == [digest_of(OTHER), ""]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"gateway_id": "gw-9"}, "there is no gateway"),
        ({"id": "a b"}, "is no key"),
        ({"files": {}}, "no file is in it"),
        ({"files": {"../x.yaml": b""}}, "is no file of a configuration"),
        ({"files": {"gateway.yaml": b"a: [1\n"}}, "gateway.yaml:1: did not find"),
        ({"files": {"gateway.yaml": b"[" * 100_000}}, "gateway.yaml:1"),
        ({"confirm_s": 1.0}, "confirm_within_s"),
        ({"life_ms": 30 * DAY_MS}, "expires_in_s"),
        ({"files": {"a.csv": bytes(9_000_000)}}, "more than"),
    ],
)
async def test_what_cannot_be_pushed_is_said_and_not_kept(
    desk: CommandDesk, store: Store, changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(PushMistake, match=told):
        await desk.configurations.push(a_push(**changed))
    assert await rows(store) == []


async def test_a_revoked_gateway_gets_nothing(desk: CommandDesk, store: Store) -> None:
    await revoke_gateway(store, "gw-1", by="li", now_ms=NOW_MS)
    with pytest.raises(PushMistake, match="revoked"):
        await desk.configurations.push(a_push())


async def test_what_nobody_fetches_expires(desk: CommandDesk, store: Store, standing: StandingClock) -> None:
    await desk.configurations.push(a_push())
    standing.now_ms += DAY_MS
    assert await offered(desk) == []
    await desk.run_once()
    [row] = await rows(store)
    assert row.state == "expired"


async def test_a_question_that_waits_is_answered_by_a_push(desk: CommandDesk) -> None:
    asking = asyncio.create_task(desk.offers("gw-1", got=(), everything=False, wait_s=30))
    assert await desk.offers("gw-2", got=(), everything=False, wait_s=0) == []  # the one before has looked
    assert not asking.done()
    await desk.configurations.push(a_push())
    async with asyncio.timeout(10):
        assert len(await asking) == 1


REPORTS = {
    "tried": told("tried", version=2, digest="d2"),
    "applied": told("applied", version=2, digest="d2"),
    "reverted": told("reverted", version=3, digest="d1", code="not-reached", detail="no answer"),
    "refused": told("refused", code="mistakes", detail="1 mistake", problems=["gateway.yaml:1: x"]),
}


@pytest.mark.parametrize("order", list(itertools.permutations(["tried", "reverted"])))
async def test_reports_may_come_in_any_order_and_twice(
    desk: CommandDesk, store: Store, order: tuple[str, ...]
) -> None:
    await desk.configurations.push(a_push())
    for kind in (*order, *order):
        await settle(store, REPORTS[kind])
    [row] = await rows(store)
    assert row.state == "reverted"
    assert row.outcome["code"] == "not-reached"


async def test_a_refusal_keeps_its_problems(desk: CommandDesk, store: Store) -> None:
    await desk.configurations.push(a_push())
    await settle(store, REPORTS["refused"])
    [row] = await rows(store)
    assert (row.state, row.outcome["problems"]) == ("refused", ["gateway.yaml:1: x"])
    assert await rows(store, schema.active_configuration) == []


async def test_another_gateway_settles_nothing(desk: CommandDesk, store: Store) -> None:
    await desk.configurations.push(a_push())
    await settle(store, REPORTS["applied"], gateway_id="gw-2")
    [row] = await rows(store)
    assert row.state == "waiting"


async def test_what_was_active_is_kept_with_its_files(desk: CommandDesk, store: Store) -> None:
    lie = active(3, FILES, digest="0" * 64)
    await settle(store, active(1, FILES), active(1, FILES), active(2, OTHER), lie)
    found = await rows(store, schema.active_configuration)
    assert [(row.version, row.packed is not None) for row in found] == [(1, True), (2, True), (3, False)]
    assert unpack_files(found[1].packed) == OTHER


_facts = st.dictionaries(
    st.sampled_from(["id", "version", "digest", "origin", "by", "content", "problems", "code", "detail"]),
    st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=5),
        st.lists(st.text(max_size=3), max_size=2),
        st.sampled_from(["p-1", "on-site", "collector", told_files(FILES)]),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.sampled_from(["tried", "applied", "refused", "reverted"]), _facts)
async def test_nothing_that_a_gateway_says_is_an_error(
    desk: CommandDesk, store: Store, kind: str, facts: dict[str, Any]
) -> None:
    data = {"origin": "collector", "by": "x"} | facts
    event = Event(device_id=GATEWAY, kind=f"config.{kind}", data=data, measured_ms=NOW_MS, received_ms=NOW_MS)
    await settle(store, event)
