"""Doors are opened once for each key, and visitors' passes end when they end, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.access.acts import KEPT_MS, Acts
from drivers.access.controller import DoorController
from drivers.contract import CommandRefused, DeviceUnreachable
from models.pseudonym import Pseudonymiser
from models.times import Clock
from simulators.access.controller import SimulatedController
from simulators.access.sections import DoorFault
from tests.support.clocks import VirtualClock
from tests.support.doors import KEY, a_controller, a_section, eventually, listening, the_listener
from tests.support.keeping_sink import KeepingSink

CARD = "0004711815"


@pytest.fixture
async def controller(clock: Clock) -> AsyncIterator[SimulatedController]:
    async with a_controller(a_section(), clock) as controller:
        yield controller


@pytest.fixture
async def listener(
    controller: SimulatedController, clock: Clock, sink: KeepingSink
) -> AsyncIterator[DoorController]:
    listener = the_listener(controller.url, clock, period_s=20)
    async with listening(listener, sink):
        await eventually(lambda: listener.states[0].answered_ms)
        yield listener


def a_pass(clock: Clock, **more: Any) -> dict[str, Any]:
    now_ms = clock.now_ms()
    given = {"key": "k", "pass": "visit-1", "card": CARD, "doors": [1]}
    return {**given, "from_ms": now_ms - 1000, "to_ms": now_ms + 3_600_000, **more}


async def test_a_door_is_opened_locked_and_unlocked_and_the_controller_shows_it(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    opened = await listener.act("door", "open_once", {"key": "1", "door": 2})
    assert opened == {"action": "open_once", "door": 2, "confirmed": True}
    assert controller.state.doors[1].is_open(clock.now_ms())
    unlocked = await listener.act("door", "unlock", {"key": "2", "door": 1})
    assert (unlocked["confirmed"], controller.state.doors[0].is_unlocked) == (True, True)
    locked = await listener.act("door", "lock", {"key": "3", "door": 1})
    assert (locked["confirmed"], controller.state.doors[0].is_unlocked) == (True, False)
    kinds = [event.kind for event in await sink.has(3)]
    assert kinds == ["door.granted", "door.unlocked", "door.locked"]


async def test_a_key_opens_once_also_after_a_restart(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    facts = [await listener.act("door", "open_once", {"key": "same", "door": 1}) for _ in range(3)]
    again = the_listener(controller.url, clock)
    async with listening(again, sink):
        await eventually(lambda: again.states[0].answered_ms)
        facts.append(await again.act("door", "open_once", {"key": "same", "door": 1}))
    assert facts == [facts[0]] * 4
    assert sum("RemoteControl" in target for _, target in controller.requests) <= 2  # with the digest


async def test_an_opening_whose_answer_was_lost_is_not_done_again(
    listener: DoorController, controller: SimulatedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(*_: Any) -> None:
        return None  # the request was carried out, and the connection breaks

    monkeypatch.setattr(controller._web, "_handle", hang_up)
    with pytest.raises(DeviceUnreachable):
        await listener.act("door", "open_once", {"key": "lost", "door": 1})
    monkeypatch.undo()
    with pytest.raises(CommandRefused, match="its answer was lost"):
        await listener.act("door", "open_once", {"key": "lost", "door": 1})
    assert (await listener.act("door", "open_once", {"key": "new", "door": 1}))["confirmed"]


async def test_an_opening_that_never_got_there_may_be_tried_again(
    listener: DoorController, controller: SimulatedController
) -> None:
    await controller.go()
    with pytest.raises(DeviceUnreachable):
        await listener.act("door", "open_once", {"key": "k", "door": 1})
    await controller.listen()
    assert (await listener.act("door", "open_once", {"key": "k", "door": 1}))["confirmed"]


@pytest.mark.parametrize(
    ("action", "arguments", "why"),
    [
        pytest.param("open_once", {"door": 1}, "needs a `key`", id="no-key"),
        pytest.param("open_once", {"key": "a b", "door": 1}, "needs a `key`", id="key-with-space"),
        pytest.param("open_once", {"key": "k"}, "needs a `door`", id="no-door"),
        pytest.param("open_once", {"key": "k", "door": True}, "needs a `door`", id="door-that-is-none"),
        pytest.param("open_once", {"key": "k", "door": 9}, "badParameters", id="door-it-has-not"),
        pytest.param("explode", {"key": "k", "door": 1}, "cannot do that", id="no-such-action"),
        pytest.param("take_pass", {"key": "k"}, "needs a `pass`", id="no-pass"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_may_be_corrected(
    listener: DoorController, action: str, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(CommandRefused, match=why):
        await listener.act("door", action, arguments)
    assert (await listener.act("door", "open_once", {"key": "k", "door": 1}))["confirmed"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param({"card": None}, "either a `card` or a `pin`", id="neither"),
        pytest.param({"pin": "1234"}, "either a `card` or a `pin`", id="both"),
        pytest.param({"card": "12;DROP"}, "no card number", id="strange-card"),
        pytest.param({"card": None, "pin": "12"}, "4 to 8 digits", id="short-pin"),
        pytest.param({"doors": []}, "needs `doors`", id="no-doors"),
        pytest.param({"doors": ["1"]}, "needs `doors`", id="text-for-a-door"),
        pytest.param({"to_ms": 5}, "`from_ms` before `to_ms`", id="ends-before-it-begins"),
        pytest.param({"from_ms": 4, "to_ms": 5}, "ended already", id="over"),
        pytest.param({"to_ms": 1 << 50}, "longer than a year", id="for-ever"),
        pytest.param({"from_ms": 10**18 - 1, "to_ms": 10**18}, "more than a year from now", id="far-away"),
        pytest.param({"pass": "a/b"}, "needs a `pass`", id="strange-pass"),
    ],
)
async def test_a_pass_that_makes_no_sense_is_refused_without_showing_its_card(
    listener: DoorController, controller: SimulatedController, clock: Clock, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(CommandRefused, match=why) as caught:
        await listener.act("door", "put_pass", a_pass(clock, **wrong))
    assert CARD not in str(caught.value)
    assert controller.state.users == {}


async def test_a_visitors_card_opens_the_doors_of_the_pass_and_no_others(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    facts = await listener.act("door", "put_pass", a_pass(clock))
    alias = Pseudonymiser(KEY).card(CARD)
    assert (facts["pseudonym"], facts["last4"], facts["confirmed"]) == (alias.pseudonym, "1815", True)
    assert (controller.swipe(CARD, 1), controller.swipe(CARD, 2)) == ("card_ok", "no_right")
    granted, denied = await sink.has(2, "door.granted", "door.denied")
    assert granted.data["pseudonym"] == facts["pseudonym"]
    assert granted.data["person"] == denied.data["person"] == facts["person"]
    assert denied.data["reason"] == "no_right"


async def test_a_pass_with_a_pin_keeps_it_at_the_controller(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    facts = await listener.act("door", "put_pass", a_pass(clock, card=None, pin="90210"))
    [user] = controller.state.users.values()
    assert user["password"] == "90210"
    assert "90210" not in repr(facts)
    assert "90210" not in repr(sink.stored)
    assert "pseudonym" not in facts


async def test_a_pass_is_taken_off_by_command_and_putting_it_twice_changes_it(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    await listener.act("door", "put_pass", a_pass(clock))
    await listener.act("door", "put_pass", a_pass(clock, key="k2", doors=[2]))
    assert len(controller.state.users) == 1
    assert (controller.swipe(CARD, 1), controller.swipe(CARD, 2)) == ("no_right", "card_ok")
    taken = await listener.act("door", "take_pass", {"key": "k3", "pass": "visit-1"})
    assert taken == {"pass": "visit-1", "confirmed": True}
    assert (controller.state.users, controller.state.cards) == ({}, {})
    [event] = sink.of_kind("door.pass_taken")
    assert event.data == {"pass": "visit-1", "doors": [2], "reason": "command"}
    assert not any("/pass/" in name for name in sink.stored)


@pytest.mark.parametrize(
    "before", [{"card": "0004711816"}, {"card": None, "pin": "90210"}], ids=["another-card", "a-pin"]
)
async def test_what_a_pass_was_opened_with_before_opens_nothing_any_more(
    listener: DoorController, controller: SimulatedController, clock: Clock, before: dict[str, Any]
) -> None:
    await listener.act("door", "put_pass", a_pass(clock, **before))
    await listener.act("door", "put_pass", a_pass(clock, key="k2"))
    assert list(controller.state.cards) == [CARD]
    assert not any("password" in user for user in controller.state.users.values())


async def test_a_card_of_somebody_else_is_no_visitors_card(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    controller.state.users["1001"] = {"employeeNo": "1001"}
    controller.state.cards[CARD] = "1001"
    with pytest.raises(CommandRefused, match="cardNoAlreadyExist"):
        await listener.act("door", "put_pass", a_pass(clock))
    assert list(controller.state.users) == ["1001"]
    assert controller.state.cards == {CARD: "1001"}
    assert not any("/pass/" in name for name in sink.stored)


async def test_a_pass_ends_at_its_end(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    await listener.act("door", "put_pass", a_pass(clock, to_ms=clock.now_ms() + 8_000))
    assert controller.swipe(CARD, 1) == "card_ok"
    [event] = await sink.has(1, "door.pass_taken")
    assert event.data["reason"] == "ended"
    assert controller.swipe(CARD, 1) == "unknown_card"


async def test_a_pass_that_ended_while_the_gateway_was_off_is_taken_off_at_the_start(
    controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    first = the_listener(controller.url, clock)
    async with listening(first, sink):
        await eventually(lambda: first.states[0].answered_ms)
        await first.act("door", "put_pass", a_pass(clock, to_ms=clock.now_ms() + 4_000))
    await clock.sleep(6)
    assert len(controller.state.users) == 1
    async with listening(the_listener(controller.url, clock), sink):
        await sink.has(1, "door.pass_taken")
    assert controller.state.users == {}


async def test_a_controller_that_is_away_when_a_pass_ends_is_asked_until_it_has_taken_it_off(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock
) -> None:
    await listener.act("door", "put_pass", a_pass(clock, to_ms=clock.now_ms() + 5_000))
    await controller.go()
    await clock.sleep(12)
    assert sink.of_kind("door.pass_taken") == []
    await controller.listen()
    controller.add(DoorFault(kind="refused", for_ms=4_000))
    await sink.has(1, "door.pass_taken")
    assert controller.state.users == {}


async def test_a_pass_that_may_be_there_or_not_is_taken_off_when_it_ends(
    listener: DoorController, controller: SimulatedController, sink: KeepingSink, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("simulators.access.isapi.Isapi._search_user", lambda *_: None)  # it breaks off there
    with pytest.raises(DeviceUnreachable):
        await listener.act("door", "put_pass", a_pass(clock, to_ms=clock.now_ms() + 10_000))
    assert len(controller.state.users) == 1
    monkeypatch.undo()
    await sink.has(1, "door.pass_taken")
    assert controller.state.users == {}


async def test_commands_find_nobody_while_nobody_listens(clock: Clock) -> None:
    listener = the_listener("http://127.0.0.1:9", clock)
    with pytest.raises(DeviceUnreachable):
        await listener.act("door", "open_once", {"key": "k", "door": 1})


async def test_what_became_of_a_command_is_forgotten_after_a_week() -> None:
    time, sink, done = VirtualClock(), KeepingSink(), []

    async def work() -> dict[str, Any]:
        done.append(1)
        return {"n": len(done)}

    acts = Acts("d", time.clock)
    await acts.begin(sink)
    for key in ("a", "a", "b"):
        await acts.once("lock", {"key": key}, work, again=True)
    assert len(done) == 2
    await time.advance(KEPT_MS / 1000 + 1)
    await acts.once("lock", {"key": "c"}, work, again=True)
    assert list(sink.stored) == ["access/d/act/c"]


async def test_two_at_once_with_one_key_do_it_once() -> None:
    time, sink, done = VirtualClock(), KeepingSink(), []

    async def work() -> dict[str, Any]:
        await asyncio.sleep(0)
        done.append(1)
        return {}

    acts = Acts("d", time.clock)
    await acts.begin(sink)
    await asyncio.gather(*(acts.once("open_once", {"key": "k"}, work, again=False) for _ in range(5)))
    assert len(done) == 1
