"""Every event of a door controller arrives once, whichever way it comes and whatever happens to it."""

import random
from pathlib import Path
from typing import Any

import pytest

from drivers.access.intake import LOG_GAP, LOG_RESTARTED
from models.times import Clock
from simulators.access.controller import SimulatedController
from simulators.access.sections import DoorFault
from simulators.access.state import State
from simulators.access.web import Answer
from simulators.ledger import LedgerWriter, happenings
from tests.support.clocks import START_MS, fast_clock
from tests.support.doors import (
    a_controller,
    a_section,
    agrees,
    eventually,
    known_of,
    listening,
    pushing,
    serials,
    the_listener,
)
from tests.support.keeping_sink import KeepingSink

WHATS = ("card_ok", "face_ok", "no_right", "lock_open", "opened", "closed", "forced", "button", "mystery")


def busy(controller: SimulatedController, count: int, rng: random.Random) -> None:
    """Let so many things happen."""
    for _ in range(count):
        what, door = rng.choice(WHATS), rng.randint(1, 2)
        person = rng.choice(controller.people) if what in ("card_ok", "face_ok", "no_right") else None
        controller.happen(what, door, person)


async def streaming(controller: SimulatedController) -> None:
    """Wait until somebody listens to the stream."""
    await eventually(lambda: controller.delivery.listeners)


def check_all_there(controller: SimulatedController, sink: KeepingSink) -> None:
    """All that is in the log arrived once, with the right kind and data."""
    known = known_of(controller)
    told = [event for event in sink.events if "serial" in event.data]
    assert sorted(serials(told)) == [data["serial"] for _, data in known]
    by_serial = {event.data["serial"]: event for event in told}
    for kind, data in known:
        assert agrees(by_serial[data["serial"]], kind, data), (by_serial[data["serial"]], kind, data)


@pytest.mark.parametrize("make", ["isapi", "shifted"])
@pytest.mark.parametrize("way", ["push", "stream", "log"])
async def test_events_arrive_by_each_way_alone(clock: Clock, sink: KeepingSink, way: str, make: str) -> None:
    section = a_section(make=make, streams=way == "stream")
    async with a_controller(section, clock) as controller:
        listener = the_listener(
            controller.url, clock, make=make, pushes=way == "push", period_s=60 if way != "log" else 2,
            isapi={"stream": way == "stream"},
        )  # fmt: skip
        async with listening(listener, sink, controller):
            if way == "push":
                await pushing(controller, listener)
            elif way == "stream":
                await streaming(controller)
            busy(controller, 40, random.Random(way))
            await sink.until(lambda: len(set(serials(sink.events))) == controller.state.log.last)
        check_all_there(controller, sink)
    assert not any("history" in event.data for event in sink.events)


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("lengths", [True, False], ids=["lengths", "no-lengths"])
async def test_pushes_with_pictures_and_streams_of_any_form_are_read(
    clock: Clock, sink: KeepingSink, form: str, lengths: bool
) -> None:
    section = a_section(form=form, lengths=lengths, pictures=True)
    async with a_controller(section, clock) as controller:
        listener = the_listener(controller.url, clock, pushes=True)
        async with listening(listener, sink, controller):
            await streaming(controller)
            await pushing(controller, listener)
            busy(controller, 30, random.Random(1))
            await sink.until(lambda: len(set(serials(sink.events))) == 30)
            await eventually(lambda: controller.delivery.pushed == 30)
        check_all_there(controller, sink)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "lost", "probability": 0.3}, id="lost"),
        pytest.param({"kind": "duplicate", "probability": 0.5}, id="duplicate"),
        pytest.param({"kind": "swapped", "probability": 0.5}, id="swapped"),
        pytest.param({"kind": "late", "probability": 0.3, "delay_ms": 3000}, id="late"),
        pytest.param({"kind": "garbage", "probability": 0.3}, id="garbage"),
        pytest.param({"kind": "cut", "probability": 0.1}, id="cut"),
    ],
)
async def test_none_is_missing_and_none_is_doubled_whatever_becomes_of_the_deliveries(
    clock: Clock, sink: KeepingSink, fault: dict[str, Any]
) -> None:
    async with a_controller(a_section(), clock) as controller:
        listener = the_listener(controller.url, clock, pushes=True, period_s=10)
        async with listening(listener, sink, controller):
            await streaming(controller)
            await pushing(controller, listener)
            controller.add(DoorFault(**fault))
            rng = random.Random(3)
            for _ in range(12):
                busy(controller, 5, rng)
                await clock.sleep(0.2)
            controller.clear_faults()
            controller.happen("closed", 1)
            await sink.until(lambda: len(set(serials(sink.events))) == 61)
        check_all_there(controller, sink)
    assert sink.of_kind(LOG_GAP) == []


async def test_what_the_ledger_says_is_what_arrives(clock: Clock, sink: KeepingSink, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = LedgerWriter(path, scenario="doors", seed=7, start_ms=START_MS)
    async with (
        a_controller(a_section(), clock, ledger=ledger) as controller,
        listening(the_listener(controller.url, clock), sink),
    ):
        await streaming(controller)
        busy(controller, 80, random.Random(5))
        await sink.until(lambda: len(serials(sink.events)) == 80)
    ledger.close()
    shown = list(happenings(path))
    assert len(shown) == 80
    for event, happened in zip(sorted(sink.events, key=lambda e: int(e.data["serial"])), shown, strict=True):
        assert agrees(event, happened.kind, happened.data)


async def test_after_a_restart_only_what_is_new_is_taken(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(page_size=7), clock) as controller:
        rng = random.Random(9)
        for _ in range(4):
            busy(controller, 25, rng)
            async with listening(the_listener(controller.url, clock), sink):
                await sink.until(lambda: len(set(serials(sink.events))) == controller.state.log.last)
        check_all_there(controller, sink)


async def test_old_events_are_history_and_new_ones_are_not(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(replays=5), clock) as controller:
        busy(controller, 5, random.Random(2))
        await clock.sleep(20)
        controller.happen("forced", 1)
        listener = the_listener(controller.url, clock, isapi={"history_after_s": 10.0})
        async with listening(listener, sink):
            await sink.has(6)
            await streaming(controller)
            controller.happen("forced", 2)
            await sink.has(7)
    assert ["history" in event.data for event in sink.events] == [True] * 5 + [False] * 2
    assert all(event.data["history"] is True for event in sink.events[:5])


async def test_what_a_stream_repeats_as_not_current_is_history_however_young(
    clock: Clock, sink: KeepingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.access.isapi.Isapi._search_log", lambda *_: _not_offered())
    async with a_controller(a_section(replays=3), clock) as controller:
        busy(controller, 3, random.Random(2))
        async with listening(the_listener(controller.url, clock), sink):
            events = await sink.has(3)
    assert [event.data.get("history") for event in events] == [True] * 3


async def test_a_code_that_the_profile_does_not_know_is_told_and_not_guessed(
    clock: Clock, sink: KeepingSink
) -> None:
    """A controller with shifted codes, read with the wrong profile, still loses nothing."""
    async with a_controller(a_section(make="shifted"), clock) as controller:
        controller.happen("mystery", 1)
        async with listening(the_listener(controller.url, clock), sink):
            [event] = await sink.has(1)
    assert (event.kind, event.data["code"], event.data["door"]) == ("door.unknown", "5/4711", 1)
    assert "reason" not in event.data


async def test_a_log_that_was_overwritten_tells_how_many_are_lost(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(log_size=50), clock) as controller:
        rng = random.Random(4)
        busy(controller, 30, rng)
        async with listening(the_listener(controller.url, clock), sink):
            await sink.has(30)
        busy(controller, 90, rng)
        async with listening(the_listener(controller.url, clock), sink):
            await sink.has(1, LOG_GAP)
    assert sorted(serials(sink.events)) == [*range(1, 31), *range(71, 121)]
    [gap] = sink.of_kind(LOG_GAP)
    assert gap.data == {"missing": 40, "from_serial": 31, "to_serial": 70, "reason": "not_in_log"}


async def test_what_was_overwritten_before_we_came_is_no_loss(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(log_size=20), clock) as controller:
        busy(controller, 60, random.Random(4))
        async with listening(the_listener(controller.url, clock), sink):
            await sink.until(lambda: len(serials(sink.events)) == 20)
            await streaming(controller)
            controller.happen("forced", 1)
            await sink.until(lambda: len(serials(sink.events)) == 21)
    assert sink.of_kind(LOG_GAP) == []
    assert sorted(serials(sink.events)) == [*range(41, 62)]


@pytest.mark.parametrize("later", [3, 60], ids=["fewer-than-before", "more-than-before"])
@pytest.mark.parametrize("is_there", [True, False], ids=["while-we-listen", "while-we-are-away"])
async def test_a_controller_that_numbers_anew_is_followed(
    sink: KeepingSink, later: int, is_there: bool
) -> None:
    clock = fast_clock(200)
    async with a_controller(a_section(), clock) as controller:
        rng = random.Random(8)
        busy(controller, 40, rng)
        listener = the_listener(controller.url, clock, period_s=5)
        async with listening(listener, sink):
            await sink.has(40)
            if is_there:
                await streaming(controller)
                await clock.sleep(70)
                controller.reset()
                busy(controller, later, rng)
                await sink.until(lambda: len(serials(sink.events)) == 40 + later)
        if not is_there:
            await clock.sleep(70)
            controller.reset()
            busy(controller, later, rng)
            async with listening(listener, sink):
                await sink.until(lambda: len(serials(sink.events)) == 40 + later)
        known = known_of(controller)
    [restart] = sink.of_kind(LOG_RESTARTED)
    assert restart.data == {"last_serial": 40, "numbering": 1}
    anew = [event for event in sink.events if event.data.get("numbering") == 1 and "serial" in event.data]
    assert sorted(serials(anew)) == list(range(1, later + 1))
    for kind, data in known:
        assert any(agrees(event, kind, data) for event in anew)


async def test_a_wrong_clock_is_told_and_its_times_are_set_right(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(), clock) as controller:
        controller.add(DoorFault(kind="clock", seconds=-3600))
        listener = the_listener(controller.url, clock)
        async with listening(listener, sink):
            await sink.has(1, "device.clock_wrong")
            await streaming(controller)
            controller.happen("forced", 1)
            [forced] = await sink.has(1, "door.forced")
            controller.clear_faults()
            await sink.has(1, "device.clock_right")
    [wrong] = sink.of_kind("device.clock_wrong")
    assert wrong.data["off_s"] == pytest.approx(-3600, abs=3)
    assert "history" not in forced.data  # an hour ago by its clock, now by ours
    assert abs(forced.measured_ms - forced.received_ms) < 5_000
    assert forced.data["device_ms"] == pytest.approx(forced.received_ms - 3_600_000, abs=5_000)


async def test_a_clock_that_was_never_set_does_not_turn_an_alarm_into_history(sink: KeepingSink) -> None:
    clock = fast_clock(20)
    async with a_controller(a_section(), clock) as controller:
        controller.add(DoorFault(kind="clock", seconds=-START_MS // 1000))
        async with listening(the_listener(controller.url, clock), sink):
            await streaming(controller)
            controller.happen("forced", 1)
            [forced] = await sink.has(1, "door.forced")
    assert "history" not in forced.data
    assert abs(forced.measured_ms - forced.received_ms) < 5_000


async def test_loss_and_return_of_a_controller_are_told_once_each_also_over_a_restart(
    sink: KeepingSink,
) -> None:
    clock = fast_clock(60)
    async with a_controller(a_section(), clock) as controller:
        listener = the_listener(controller.url, clock, period_s=5)
        async with listening(listener, sink):
            await streaming(controller)
            await controller.go()
            [lost] = await sink.has(1, "device.offline")
            assert listener.states[0].lost_since_ms is not None
        async with listening(the_listener(controller.url, clock, period_s=5), sink):
            await clock.sleep(30)
            await controller.listen()
            controller.happen("forced", 1)
            await sink.has(1, "device.back")
            await sink.has(1, "door.forced")
        await clock.sleep(5)
    assert lost.data == {"reason": "unreachable"}
    assert len(sink.of_kind("device.offline")) == len(sink.of_kind("device.back")) == 1


async def test_a_reboot_loses_nothing(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(), clock) as controller:
        async with listening(the_listener(controller.url, clock, period_s=5), sink):
            await streaming(controller)
            busy(controller, 10, random.Random(1))
            controller.add(DoorFault(kind="reboot", lasts_ms=4_000))
            busy(controller, 10, random.Random(2))
            await sink.until(lambda: len(set(serials(sink.events))) == 21)
        check_all_there(controller, sink)


async def test_a_controller_that_locks_us_out_for_a_while_is_not_stormed_and_comes_back(
    sink: KeepingSink,
) -> None:
    clock = fast_clock(80)
    async with a_controller(a_section(), clock) as controller:
        listener = the_listener(controller.url, clock, period_s=5)
        controller.add(DoorFault(kind="refused", for_ms=60_000))
        async with listening(listener, sink):
            [lost] = await sink.has(1, "device.offline")
            await clock.sleep(40)
            attempts = len(controller.requests)
            busy(controller, 5, random.Random(1))
            await sink.until(lambda: len(serials(sink.events)) == 5)
    assert lost.data == {"reason": "refused"}
    assert attempts <= 16  # log and stream, each twice a time for the digest, and with pauses of 30 s


async def test_nonces_that_count_once_are_asked_for_again(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(nonces_once=True), clock) as controller:
        busy(controller, 70, random.Random(1))
        async with listening(the_listener(controller.url, clock), sink):
            await sink.until(lambda: len(serials(sink.events)) == 70)
        check_all_there(controller, sink)


async def test_a_stream_that_falls_silent_is_opened_anew(clock: Clock, sink: KeepingSink) -> None:
    async with a_controller(a_section(heartbeat_ms=10_000_000), clock) as controller:
        listener = the_listener(controller.url, clock, isapi={"heartbeat_limit_s": 4.0})
        async with listening(listener, sink):
            await eventually(lambda: sum("alert" in target for _, target in controller.requests) >= 4)
            controller.happen("forced", 1)
            await sink.has(1, "door.forced")


async def test_a_controller_without_a_log_is_listened_to_all_the_same(
    clock: Clock, sink: KeepingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_controller(a_section(), clock) as controller:
        monkeypatch.setattr("simulators.access.isapi.Isapi._search_log", lambda *_: _not_offered())
        async with listening(the_listener(controller.url, clock, period_s=4), sink):
            await streaming(controller)
            controller.happen("opened", 1)
            controller.add(DoorFault(kind="lost"))
            controller.happen("closed", 1)
            controller.clear_faults()
            controller.happen("forced", 1)
            [gap] = await sink.has(1, LOG_GAP)
            controller.reset()
            controller.happen("closed", 2)  # its number is 1, as that of the first one was
            await sink.until(lambda: len(serials(sink.events)) == 3)
    assert gap.data == {"missing": 1, "from_serial": 2, "to_serial": 2, "reason": "no_log"}
    assert [event.data.get("numbering", 0) for event in sink.events if "serial" in event.data] == [0, 0, 1]
    assert not sink.of_kind("device.offline")


async def test_a_log_that_ignores_the_number_it_is_asked_for_is_read_by_place(
    clock: Clock, sink: KeepingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = State.search
    monkeypatch.setattr(
        State, "search", lambda state, condition, most: real(state, {**condition, "beginSerialNo": 1}, most)
    )
    async with a_controller(a_section(page_size=7), clock) as controller:
        rng = random.Random(6)
        for _ in range(3):
            busy(controller, 30, rng)
            async with listening(the_listener(controller.url, clock), sink):
                await sink.until(lambda: len(set(serials(sink.events))) == controller.state.log.last)
        check_all_there(controller, sink)


async def test_a_log_without_end_is_left_and_looked_at_again_later(
    clock: Clock, sink: KeepingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = State.search
    monkeypatch.setattr(
        State,
        "search",
        lambda state, condition, most: (
            real(state, {**condition, "beginSerialNo": 1, "searchResultPosition": 0}, most)[0],
            10**9,
        ),
    )
    async with a_controller(a_section(page_size=7), clock) as controller:
        busy(controller, 30, random.Random(6))
        listener = the_listener(controller.url, clock)
        async with listening(listener, sink):
            await eventually(lambda: listener.states[0].missed_polls >= 2)
            await sink.until(lambda: len(serials(sink.events)) == 7)


def _not_offered() -> Answer:
    return Answer(400, body=b'{"statusCode": 4, "subStatusCode": "notSupport"}')
