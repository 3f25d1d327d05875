"""What is kept of a command, whatever gateways say and in whichever order they say it."""

import asyncio
import itertools
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.control import record
from collector.control.desk import CommandDesk, CommandMistake, Wish
from collector.identity.gateways import revoke_gateway
from collector.intake.refusals import Refused
from collector.store import schema
from collector.store.engine import Store
from models.actions import HIDDEN, ArgumentsWrong
from models.command import CommandKey, verify_command
from models.reading import Event
from models.sealing import unseal_text
from models.times import DAY_MS
from tests.support.collector import NOW_MS, StandingClock, add_site
from tests.support.meters import add_device, add_gateway

KEY = CommandKey.from_bytes(bytes(range(32)))
SEAL_KEY = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PASS: dict[str, Any] = {"pass": "v-7", "doors": [1], "from_ms": NOW_MS, "to_ms": NOW_MS + DAY_MS}


@pytest.fixture
async def desk(store: Store, standing: StandingClock) -> CommandDesk:
    """At a site with two gateways, gw-1 with device 1 and gw-2 with device 2."""
    site_id = await add_site(store)
    for number in (1, 2):
        await add_gateway(store, site_id, f"gw-{number}", seal_key=SEAL_KEY.public_key().public_bytes_raw())
        await add_device(store, site_id, gateway_id=f"gw-{number}")
    return CommandDesk(store, standing.clock, KEY)


def a_wish(command_id: str = "c-1", **changed: Any) -> Wish:
    fields: dict[str, Any] = {
        "id": command_id,
        "site_id": 1,
        "device": 1,
        "action": "write",
        "arguments": {"point": "setpoint_c", "value": 21},
        "life_ms": 60_000,
        "by": "duty desk",
    }
    return Wish(**fields | changed)


def told(kind: str, command_id: str = "c-1", *, device_id: str = "meter-01", **data: Any) -> Event:
    fields = {
        "id": command_id,
        "action": "write",
        "arguments": {"point": "setpoint_c", "value": 21.0},
        "by": "duty desk",
        "origin": "collector",
    }
    return Event(device_id=device_id, kind=kind, data=fields | data, measured_ms=NOW_MS, received_ms=NOW_MS)


async def settle(store: Store, *events: Event, gateway_id: str = "gw-1") -> None:
    await store.bulk(lambda connection: record.settle(connection, 1, gateway_id, events, NOW_MS))


async def rows(store: Store, table: Any = schema.command) -> list[Any]:
    async with store.read() as connection:
        return list((await connection.execute(select(table))).all())


async def state_of(store: Store, command_id: str = "c-1") -> str:
    return next(str(row.state) for row in await rows(store) if row.id == command_id)


async def history(store: Store) -> list[tuple[str, str]]:
    return [(row.state, row.by) for row in await rows(store, schema.command_change)]


async def fetched(
    desk: CommandDesk, gateway_id: str = "gw-1", *got: str, everything: bool = False
) -> list[str]:
    signed = await desk.offers(gateway_id, got=got, everything=everything, wait_s=0)
    return [
        verify_command(one, gateway_id=gateway_id, public_key=KEY.public_bytes(), now_ms=NOW_MS).id
        for one in signed
    ]


async def test_a_command_goes_its_way_step_by_step(desk: CommandDesk, store: Store) -> None:
    await desk.give(a_wish())
    assert await fetched(desk) == ["c-1"]
    assert await fetched(desk) == ["c-1"]  # until it is said to have arrived
    assert await fetched(desk, "gw-1", "c-1") == []
    await settle(store, told("command.done", result={"value": 21.0}))
    [row] = await rows(store)
    assert (row.state, row.outcome["result"]) == ("done", {"value": 21.0})
    assert await history(store) == [("waiting", "duty desk"), ("sent", "gw-1"), ("done", "gw-1")]


async def test_no_gateway_gets_the_command_of_another_or_says_that_it_has_it(
    desk: CommandDesk, store: Store
) -> None:
    await desk.give(a_wish())
    assert await fetched(desk, "gw-2", "c-1", everything=True) == []
    assert await state_of(store) == "waiting"
    await settle(store, told("command.done"), gateway_id="gw-2")
    await settle(store, told("command.done", device_id="meter-09"))
    assert await state_of(store) == "waiting"


async def test_the_same_command_given_twice_is_one(desk: CommandDesk, store: Store) -> None:
    await asyncio.gather(*(desk.give(a_wish()) for _ in range(5)))
    assert len(await rows(store)) == 1
    assert await fetched(desk) == ["c-1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": {"point": "setpoint_c", "value": 22}},
        {"action": "lock", "arguments": {}},
        {"device": 2},
        {"life_ms": 30_000},
    ],
)
async def test_a_key_is_good_for_one_command(
    desk: CommandDesk, store: Store, changed: dict[str, Any]
) -> None:
    await desk.give(a_wish())
    with pytest.raises(CommandMistake) as refused:
        await desk.give(a_wish(**changed))
    assert refused.value.code == "key-reused"
    assert len(await rows(store)) == 1


async def test_the_key_of_a_pass_is_not_good_for_another_card(desk: CommandDesk) -> None:
    await desk.give(a_wish(action="put_pass", arguments=PASS | {"card": "11112222"}))
    await desk.give(a_wish(action="put_pass", arguments=PASS | {"card": "11112222"}))
    with pytest.raises(CommandMistake, match="used for another command"):
        await desk.give(a_wish(action="put_pass", arguments=PASS | {"card": "11112223"}))


async def test_what_cannot_be_given_is_not_kept(desk: CommandDesk, store: Store) -> None:
    for wrong in (
        a_wish(device=9),
        a_wish(site_id=2),
        a_wish(arguments={}),
        a_wish(action="explode"),
        a_wish(life_ms=9_999),
        a_wish(life_ms=DAY_MS + 1),
        a_wish("a b"),
        a_wish(""),
    ):
        with pytest.raises((CommandMistake, ArgumentsWrong)):
            await desk.give(wrong)
    await revoke_gateway(store, "gw-1", by="test", now_ms=NOW_MS)
    with pytest.raises(CommandMistake, match="revoked"):
        await desk.give(a_wish())
    assert await rows(store) == []


async def test_a_revoked_gateway_gets_nothing(desk: CommandDesk, store: Store) -> None:
    await desk.give(a_wish())
    await revoke_gateway(store, "gw-1", by="test", now_ms=NOW_MS)
    with pytest.raises(Refused):
        await fetched(desk)


async def test_a_card_number_is_in_no_row_and_opens_at_its_gateway(desk: CommandDesk, store: Store) -> None:
    await desk.give(a_wish(action="put_pass", arguments=PASS | {"card": "83726451"}))
    [row] = await rows(store)
    assert row.arguments["card"] == HIDDEN
    assert b"83726451" not in store.path.read_bytes()
    assert b"83726451" not in store.path.with_name(store.path.name + "-wal").read_bytes()
    [signed] = await desk.offers("gw-1", got=(), everything=False, wait_s=0)
    command = verify_command(signed, gateway_id="gw-1", public_key=KEY.public_bytes(), now_ms=NOW_MS)
    card = command.arguments["card"]
    assert unseal_text(card, private_key=SEAL_KEY, gateway_id="gw-1", command_id="c-1") == "83726451"


async def test_what_nobody_fetched_in_time_expires_and_is_offered_no_more(
    desk: CommandDesk, store: Store, standing: StandingClock
) -> None:
    await desk.give(a_wish())
    standing.now_ms += 59_999
    await desk.run_once()
    assert await state_of(store) == "waiting"
    standing.now_ms += 1
    assert await desk.offers("gw-1", got=(), everything=True, wait_s=0) == []
    await desk.run_once()
    assert await state_of(store) == "expired"
    assert (await history(store))[-1] == ("expired", "collector")


async def test_a_gateway_that_has_forgotten_is_offered_what_it_had_also_after_its_time(
    desk: CommandDesk, store: Store, standing: StandingClock
) -> None:
    """So that it can say what came of it: its time being over says nothing of that."""
    await desk.give(a_wish())
    await fetched(desk, "gw-1", "c-1")
    standing.now_ms += DAY_MS
    await desk.run_once()
    assert await state_of(store) == "sent"
    assert len(await desk.offers("gw-1", got=(), everything=True, wait_s=0)) == 1
    standing.now_ms += 6 * DAY_MS
    await desk.run_once()
    assert (await history(store))[-1] == ("failed", "collector")


async def test_what_was_done_without_the_collectors_knowing_is_done(
    desk: CommandDesk, store: Store, standing: StandingClock
) -> None:
    """It was fetched, but not said to be; the report came hours later."""
    await desk.give(a_wish())
    standing.now_ms += 3_600_000
    await desk.run_once()
    await settle(store, told("command.done"))
    assert await state_of(store) == "done"


REPORTS = [
    ("command.done", {}),
    ("command.failed", {"code": "unknown-outcome", "detail": "?"}),
    ("command.refused", {"code": "not-allowed", "detail": "no"}),
    ("command.refused", {"code": "expired", "detail": "too late"}),
]


async def test_reports_may_come_twice_and_in_any_order(desk: CommandDesk, store: Store) -> None:
    for number, order in enumerate(itertools.permutations(range(4), 3)):
        command_id = f"c-{number}"
        await desk.give(a_wish(command_id))
        for index in (*order, *order):
            kind, data = REPORTS[index]
            await settle(store, told(kind, command_id, **data))
        expected = ("done", "failed", "refused", "expired")[min(order)]
        assert await state_of(store, command_id) == expected


async def test_what_a_technician_did_is_on_record_too_once(desk: CommandDesk, store: Store) -> None:
    event = told("command.done", "site-1", by="li (uid 1000)", origin="on-site", result={"value": 21.0})
    await settle(store, event, event)
    await settle(store, event)
    [row] = await rows(store)
    assert (row.origin, row.issued_by, row.state) == ("on-site", "li (uid 1000)", "done")
    assert row.arguments == {"point": "setpoint_c", "value": 21.0}
    assert await history(store) == [("done", "gw-1")]


async def test_a_report_of_what_nobody_here_gave_is_not_taken_for_our_own(
    desk: CommandDesk, store: Store
) -> None:
    await settle(store, told("command.done", "lost-1"))
    assert [(row.origin, row.signed) for row in await rows(store)] == [("unknown", None)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "action", "by", "origin", "arguments", "result", "code"]),
        st.one_of(
            st.none(),
            st.text(max_size=2000),
            st.integers(),
            st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
        ),
    )
)
async def test_a_report_that_is_none_changes_no_command(
    desk: CommandDesk, store: Store, data: dict[str, Any]
) -> None:
    before = await rows(store)
    event = told("command.done", "never-given")
    await settle(
        store,
        Event(
            device_id="meter-01",
            kind="command.done",
            data={**data, "more": event.data},
            measured_ms=NOW_MS,
            received_ms=NOW_MS,
        ),
    )
    assert await rows(store) == before


async def test_a_question_waits_for_a_command_and_no_longer_than_it_says(
    desk: CommandDesk, store: Store
) -> None:
    question = asyncio.create_task(desk.offers("gw-1", got=(), everything=False, wait_s=60))
    other = asyncio.create_task(desk.offers("gw-2", got=(), everything=False, wait_s=60))
    await asyncio.sleep(0)
    await desk.give(a_wish())
    assert len(await question) == 1
    assert not other.done()
    desk.close()
    assert await other == []
    assert await desk.offers("gw-2", got=(), everything=False, wait_s=60) == []


async def test_a_newer_question_of_a_gateway_ends_the_older(desk: CommandDesk) -> None:
    first = asyncio.create_task(desk.offers("gw-1", got=(), everything=False, wait_s=60))
    await asyncio.sleep(0)
    second = asyncio.create_task(desk.offers("gw-1", got=(), everything=False, wait_s=60))
    assert await first == []
    await desk.give(a_wish())
    assert len(await second) == 1


async def test_a_command_given_beside_the_collector_reaches_a_question_that_waits(
    desk: CommandDesk, store: Store, standing: StandingClock
) -> None:
    question = asyncio.create_task(desk.offers("gw-1", got=(), everything=False, wait_s=60))
    await asyncio.sleep(0)
    await CommandDesk(store, standing.clock, KEY).give(a_wish())  # as the command line does
    await desk.run_once()
    assert len(await question) == 1


async def test_many_commands_come_in_their_order_and_in_portions(desk: CommandDesk) -> None:
    for number in range(45):
        await desk.give(a_wish(f"c-{number}"))
    got: list[str] = []
    while portion := await fetched(desk, "gw-1", *got[-20:]):
        got += portion
    assert got == [f"c-{number}" for number in range(45)]


async def test_the_open_commands_are_found_without_looking_at_all_there_ever_were(store: Store) -> None:
    query = f"EXPLAIN QUERY PLAN SELECT id FROM command WHERE {record.COMMANDS.is_open}"  # noqa: S608  # our own text
    async with store.read() as connection:
        plan = str((await connection.exec_driver_sql(query)).all())
    assert "USING INDEX ix_command_open" in plan
