"""The simulated car park: the same seed, the same trace, and each fault does what it says."""

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.catalogue import Catalogue
from models.times import DAY_MS, HOUR_MS
from simulators.building import Building
from simulators.faults import FaultMistake
from simulators.parking.faults import KINDS, SensorFault, parse_sensor_fault
from simulators.parking.running import make_sensors, messages
from simulators.parking.sections import CarParkSection, SensorsSection, find_mistakes
from simulators.parking.sensor import Message, SimulatedSensor
from simulators.parking.sensors import MODELS, Bay
from simulators.parking.stays import Stays

MONDAY_MS = 1_789_948_800_000 - 8 * HOUR_MS  # 2026-09-21 00:00 in Shanghai
OFFICE = Building(seed=7)
APPLICATION = "17c82e96"


def a_sensor(
    *faults: SensorFault, profile: str = "bosch-parking-lot-sensor", seed: int = 7
) -> SimulatedSensor:
    return SimulatedSensor(
        "bay-1",
        profile=profile,
        building=Building(seed=seed),
        application=APPLICATION,
        origin_ms=MONDAY_MS,
        faults=faults,
        alive_every_ms=HOUR_MS,
    )


def week(sensor: SimulatedSensor) -> list[Message]:
    end_ms = MONDAY_MS + 7 * DAY_MS
    return list(itertools.takewhile(lambda message: message.at_ms < end_ms, sensor.messages()))


def uplinks(trace: list[Message]) -> Iterator[tuple[Message, dict[str, Any]]]:
    for message in trace:
        if message.publication.topic.endswith("/up"):
            yield message, json.loads(message.publication.body)


def counters(trace: list[Message]) -> list[int]:
    return [body.get("fCnt", 0) for _, body in uplinks(trace)]


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    faults = (SensorFault(kind="lost", probability=0.1), SensorFault(kind="late", probability=0.1))
    assert week(a_sensor(*faults)) == week(a_sensor(*faults))
    assert week(a_sensor(*faults)) != week(a_sensor(*faults, seed=8))


def test_cars_come_on_working_days_and_hardly_at_weekends() -> None:
    bays = [Stays(f"bay-{n}", OFFICE) for n in range(100)]

    def taken(day: int, hour: float) -> int:
        return sum(bay.is_taken(MONDAY_MS + day * DAY_MS + round(hour * HOUR_MS)) for bay in bays)

    assert taken(0, 3) == 0
    assert taken(0, 11) > 50
    assert taken(5, 11) < 30
    for bay in bays:
        for day in range(OFFICE.local_day(MONDAY_MS), OFFICE.local_day(MONDAY_MS) + 14):
            stays = bay.on(day)
            assert all(come < go for come, go in stays)
            assert all(before[1] < after[0] for before, after in itertools.pairwise(stays))


def test_changes_are_those_of_the_stays() -> None:
    bay = Stays("bay-3", OFFICE)
    for at_ms, is_taken in itertools.islice(bay.changes(MONDAY_MS), 40):
        assert bay.is_taken(at_ms) is is_taken
        assert bay.is_taken(at_ms - 1) is not is_taken


def test_a_trace_without_faults_tells_each_change_at_once_and_counts_on() -> None:
    trace = week(a_sensor())
    assert counters(trace) == list(range(len(counters(trace))))
    told = [message.state for message in trace if message.state is not None]
    assert all(before != after for before, after in itertools.pairwise(told))
    stays = Stays("bay-1", Building(seed=7))
    for message, body in uplinks(trace):
        occupied = base64.b64decode(body["data"])[-1 if body["fPort"] == 3 else 0] & 1
        assert bool(occupied) is stays.is_taken(message.measured_ms)
        assert message.said is not None
        assert message.said["occupied"] == occupied
        assert body["time"].endswith("123456+00:00")
    battery = [message for message in trace if message.publication.topic.endswith("/status")]
    assert len(battery) == 7


def at_once(kind: str, **settings: Any) -> SensorFault:
    """Strikes the third uplink and no other."""
    return SensorFault.model_validate({"kind": kind, "times": 1, "after": "90m", **settings})


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_changes_the_trace_and_only_from_its_time_on(kind: str) -> None:
    good, bad = (
        week(a_sensor()),
        week(a_sensor(at_once(kind, lasts="5h") if kind == "silent" else at_once(kind))),
    )
    start_ms = MONDAY_MS + 90 * 60_000
    if kind != "sensor_fault":  # which this model cannot tell
        assert good != bad
    before = [message for message in good if message.at_ms < start_ms]
    assert [message for message in bad if message.at_ms < start_ms] == before


def test_lost_duplicate_and_out_of_order_show_in_the_counters() -> None:
    assert counters(week(a_sensor(at_once("lost"))))[:5] == [0, 1, 3, 4, 5]
    assert counters(week(a_sensor(at_once("duplicate"))))[:5] == [0, 1, 2, 2, 3]
    assert counters(week(a_sensor(at_once("out_of_order"))))[:5] == [0, 1, 3, 2, 4]
    assert counters(week(a_sensor(at_once("replay"))))[:5] == [0, 1, 1, 2, 3]
    assert counters(week(a_sensor(at_once("rejoin"))))[:5] == [0, 1, 0, 1, 2]
    assert counters(week(a_sensor(at_once("reset"))))[:5] == [0, 1, 0, 1, 2]


def test_a_late_uplink_keeps_the_time_at_which_it_was_heard() -> None:
    trace = week(a_sensor(at_once("late", delay="10m")))
    [late] = [message for message in trace if message.at_ms != message.measured_ms]
    assert late.at_ms - late.measured_ms == 600_000
    assert late.said is not None


def test_what_no_reader_can_take_is_not_said() -> None:
    for kind in ("garbage", "malformed", "wrong_port"):
        said = [message.said for message, _ in uplinks(week(a_sensor()))]
        spoiled = week(a_sensor(at_once(kind)))
        uplinks_of = [message for message in spoiled if message.publication.topic.endswith("/up")]
        # Of a payload that nobody understands the network still tells how well it was heard.
        heard = None if kind == "malformed" else {"signal_dbm": (said[2] or {})["signal_dbm"]}
        assert [message.said for message in uplinks_of] == [*said[:2], heard, *said[3:]]


def test_the_order_of_time_holds_over_many_sensors() -> None:
    section = CarParkSection(sensors=(SensorsSection(id="b", profile="libelium-smart-parking", count=20),))
    trace = list(itertools.islice(messages(make_sensors(section, OFFICE, MONDAY_MS)), 500))
    assert [message.at_ms for _, message in trace] == sorted(message.at_ms for _, message in trace)
    assert len({device for device, _ in trace}) == 20


def test_every_model_has_a_profile_and_says_nothing_that_the_profile_does_not_have() -> None:
    catalogue = Catalogue()
    for name, model in MODELS.items():
        points = {point.name for point in catalogue.load(name).points}
        for why in ("change", "alive", "started", "fault"):
            said = model.says(Bay(occupied=True), why)
            assert set(said.values) <= points
            assert "occupied" in said.values


def test_a_sensor_whose_battery_is_empty_says_nothing_any_more() -> None:
    trace = list(a_sensor(at_once("silent")).messages())
    assert counters(trace) == [0, 1]


@pytest.mark.parametrize("text", ["lost=0.01", "late=0.1:5m", "silent=0.001:3h", "clock-wrong=1:2h"])
def test_a_fault_can_be_written_on_the_command_line(text: str) -> None:
    assert parse_sensor_fault(text).kind == text.partition("=")[0].replace("-", "_")


@pytest.mark.parametrize("text", ["lots=0.01", "lost=many", "late=0.1:soon", "lost=2"])
def test_a_fault_that_cannot_be_understood_is_told(text: str) -> None:
    with pytest.raises(FaultMistake):
        parse_sensor_fault(text)


def test_mistakes_of_a_section_are_found() -> None:
    section = CarParkSection.model_validate(
        {
            "sensors": [{"id": "a", "profile": "bosch-parking-lot-sensor"}, {"id": "a", "profile": "bosh"}],
            "lines": [
                {"controllers": [{"id": "c", "unit": 1}, {"id": "c", "unit": 1, "profile": "parking-zone"}]}
            ],
            "broker": {"port": 1883},
            "broker_restarts": [{"after": 1000}],
        }
    )
    assert len(list(find_mistakes(section))) == 6
