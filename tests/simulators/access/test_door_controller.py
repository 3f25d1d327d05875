"""The simulated controller speaks its protocol: seen with a client that is not ours, and with raw bytes."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from models.times import Clock
from simulators.access.codes import CODES, MEANINGS
from simulators.access.controller import SimulatedController
from simulators.access.log import Log
from simulators.access.people import day_of_doors, staff
from simulators.access.sections import DoorFault, parse_door_fault
from simulators.building import Building
from simulators.faults import FaultMistake
from tests.support.clocks import START_MS, VirtualClock, fast_clock
from tests.support.doors import a_controller, a_section

LOG = "/ISAPI/AccessControl/AcsEvent?format=json"


@pytest.fixture
def clock() -> Clock:
    return fast_clock(20)


def client(controller: SimulatedController, password: str = "") -> httpx.AsyncClient:
    password = password or controller.section.password
    return httpx.AsyncClient(base_url=controller.url, auth=httpx.DigestAuth("gateway", password))


def condition(**more: Any) -> dict[str, Any]:
    given = {"searchID": "1b671a64-40d5-491e-99b0-da01ff1f3341", "searchResultPosition": 0, "maxResults": 50}
    return {"AcsEventCond": {**given, "major": 0, "minor": 0, **more}}


async def test_only_the_right_password_is_let_in(clock: Clock) -> None:
    async with a_controller(a_section(), clock) as controller:
        async with client(controller) as right, client(controller, "wrong") as wrong:
            assert (await right.get("/ISAPI/System/time")).status_code == 200
            assert (await wrong.get("/ISAPI/System/time")).status_code == 401
        async with httpx.AsyncClient(base_url=controller.url) as nobody:
            refused = await nobody.get("/ISAPI/System/time")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Digest ")


async def test_the_log_is_found_by_number_and_comes_in_pages(clock: Clock) -> None:
    async with a_controller(a_section(page_size=4), clock) as controller:
        for number in range(10):
            controller.happen("opened", number % 2 + 1)
        async with client(controller) as asking:
            pages = [
                (await asking.post(LOG, json=condition(beginSerialNo=3, searchResultPosition=at))).json()
                for at in (0, 4, 8)
            ]
    found = [page["AcsEvent"] for page in pages]
    assert [[entry["serialNo"] for entry in page["InfoList"]] for page in found] == [
        [3, 4, 5, 6], [7, 8, 9, 10], [],
    ]  # fmt: skip
    assert [page["responseStatusStrg"] for page in found] == ["MORE", "OK", "NO MATCH"]


async def test_an_event_is_streamed_as_a_part_with_a_heartbeat_before_it(clock: Clock) -> None:
    async with (
        a_controller(a_section(), clock) as controller,
        client(controller) as asking,
        asking.stream("GET", "/ISAPI/Event/notification/alertStream") as response,
    ):
        assert response.headers["content-type"] == "multipart/mixed; boundary=MIME_boundary"
        chunks = response.aiter_bytes()
        beat = await anext(chunks)
        controller.happen("card_ok", 1, controller.people[0])
        part = await anext(chunks)
    assert b'"eventType": "videoloss"' in beat
    head, _, text = part.partition(b"\r\n\r\n")
    fields = json.loads(text)["AccessControllerEvent"]
    assert head.startswith(b"--MIME_boundary\r\nContent-Type: application/json")
    assert (fields["cardNo"], fields["name"]) == (controller.people[0].card, controller.people[0].name)


async def test_a_log_that_is_full_drops_its_oldest() -> None:
    log = Log(3)
    for number in range(5):
        log.write("opened", (5, 25), number, 1, None)
    assert [entry.serial for entry in log.find(first=1, last=None)] == [3, 4, 5]
    assert [entry.serial for entry in log.find(first=4, last=4)] == [4]
    log.reset()
    assert log.write("opened", (5, 25), 0, 1, None).serial == 1


async def test_the_same_seed_gives_the_same_day_and_the_same_faults() -> None:
    traces = []
    for seed in (5, 5, 6):
        time = VirtualClock()
        section = a_section(faults=(DoorFault(kind="lost", probability=0.5),))
        async with a_controller(section, time.clock, seed=seed) as controller:
            sent: list[int] = []
            controller.delivery.send = lambda entry, sent=sent, **_: sent.append(entry.serial)  # type: ignore[method-assign]
            for _ in range(40):
                controller.happen("opened", 1)
            traces.append((tuple(controller.people), tuple(sent)))
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]
    assert 5 < len(traces[0][1]) < 35


def test_a_day_of_people_is_the_same_for_the_same_seed_and_quiet_at_weekends() -> None:
    building, people = Building(seed=3), staff(3, 40)
    monday = building.local_day(START_MS)
    days = [list(day_of_doors(building, people, doors=2, day=monday + n)) for n in (0, 5)]
    assert days[0] == list(day_of_doors(building, people, doors=2, day=monday))
    assert len(days[1]) < len(days[0]) / 2
    assert [deed.at_ms for deed in days[0]] == sorted(deed.at_ms for deed in days[0])
    assert {deed.what for deed in days[0]} >= {"card_ok", "opened", "closed"}
    assert len({person.card for person in people}) == len({person.number for person in people}) == 40


def test_at_doors_that_nobody_uses_only_happens_what_needs_nobody() -> None:
    building = Building(seed=3)
    days = [day_of_doors(building, [], doors=2, day=building.local_day(START_MS) + n) for n in range(20)]
    deeds = [deed for day in days for deed in day]
    assert {deed.what for deed in deeds} == {"forced", "held_open", "opened", "closed", "mystery"}
    assert not any(deed.person for deed in deeds)


def test_every_code_of_every_make_has_a_meaning_and_both_differ_by_one_at_the_door() -> None:
    for codes in CODES.values():
        assert set(codes) <= set(MEANINGS)
        assert len(set(codes.values())) == len(codes)
    for what in ("button", "opened", "closed", "forced", "held_open"):
        assert CODES["isapi"][what][1] - CODES["shifted"][what][1] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("lots=0.1", "did you mean", id="typo"),
        pytest.param("late=0.1", "needs `delay`", id="late-without-delay"),
        pytest.param("lost=2", "less than or equal to 1", id="more-than-always"),
        pytest.param("lost=x", "probability", id="no-number"),
        pytest.param("clock=1:99999999999999", "less than or equal to", id="clock-beyond-all-calendars"),
    ],
)
def test_a_fault_that_cannot_be_understood_says_how_to_write_it(text: str, told: str) -> None:
    with pytest.raises(FaultMistake, match=told):
        parse_door_fault(text)


def test_faults_are_read_from_the_command_line() -> None:
    assert parse_door_fault("late=0.5:3s") == DoorFault(kind="late", probability=0.5, delay_ms=3000)
    assert parse_door_fault("clock=1:-3600").seconds == -3600
    assert parse_door_fault("reboot=1:60s").lasts_ms == 60_000


async def test_the_people_of_a_building_come_by_themselves() -> None:
    time = VirtualClock(START_MS + 10 * 3_600_000)  # in the night of the building
    async with a_controller(a_section(people=20), time.clock) as controller:
        living = asyncio.create_task(controller.live(Building(seed=1)))
        await time.advance(24 * 3600)
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        whats = [entry.what for entry in controller.state.log.find(first=1, last=None)]
    assert whats.count("opened") >= 40
    assert {"card_ok", "closed"} <= set(whats)
