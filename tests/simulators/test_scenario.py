"""Scenario files: what is right in them runs, and what is wrong is named with its line."""

from pathlib import Path

import pytest

from models.document import DocumentMistakes
from models.profile.modbus import ModbusProfile
from models.times import DAY_MS
from simulators.anomalies import Excess, Stuck
from simulators.ledger import produced
from simulators.modbus.server import CannotListen
from simulators.profiles import UnknownProfile, profile_names, profile_of
from simulators.scenario import UnknownScenario, load_scenario, scenario_names, shipped_scenario
from simulators.site import NoSuchMeter, Site, running
from tests.support.clocks import START_MS, VirtualClock
from tests.support.wire import read_frame, wire

HOUR_MS = 3_600_000
SMALL = """
scenario: small
seed: 5
building: {work_from: "07:00", lunch_dip: 0.1, holidays: [2026-10-01]}
racks:
  - meters:
      - {id: m-01, unit: 1, profile: eastron-sdm630, load_kw: 20}
      - id: m-02
        unit: 2
        profile: acrel-adl3000
        parameters: {ct: 20}
        anomalies: [{kind: stuck, after: 1h, for: 30m}, {kind: excess, factor: 2, hours: ["22:00", "06:00"]}]
        faults: [{kind: lost, probability: 0.5}, {kind: late, delay: 3s, after: 9d6h}]
    faults: [{kind: reboot, after: 2h, lasts: 90s}]
  - meters:
      - {id: m-03, unit: 1, profile: chint-dtsu666}
"""


def test_a_file_is_read_with_its_units() -> None:
    scenario = load_scenario(SMALL, "small.yaml")
    assert scenario.building.building(5).work_from_h == 7.0
    meter = scenario.racks[0].meters[1]
    stuck, excess = meter.anomalies
    assert isinstance(stuck, Stuck)
    assert (stuck.after_ms, stuck.for_ms) == (HOUR_MS, HOUR_MS // 2)
    assert isinstance(excess, Excess)
    assert excess.hours == (22.0, 6.0)
    assert (meter.faults[1].delay_ms, meter.faults[1].after_ms) == (3000, 9 * DAY_MS + 6 * HOUR_MS)
    assert scenario.racks[0].faults[0].lasts_ms == 90_000


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("load_kw: 20", "loadkw: 20", r"small.yaml:7: .*unknown key 'loadkw' \(did you mean 'load_kw'\?\)"),
        ("eastron-sdm630", "eastron-sdm360", r":7: .*no profile .* \(did you mean 'eastron-sdm630'"),
        ("ct: 20", "cv: 20", r":11: .*no parameter 'cv'"),
        ("after: 1h", "after: 60", r":12: .*a duration has a unit"),
        ("after: 1h", "after: soon", r":12: .*no duration"),
        ("kind: stuck", "kind: struck", r":12: .*'struck' is not known here \(did you mean 'stuck'"),
        ("kind: stuck", "kind: jump, by: 1, points: [volts]", r":12: .*no point 'volts'"),
        ("kind: lost", "kind: lots", r":13: .*'lots' is not known here \(did you mean 'lost'"),
        ("delay: 3s, ", "", r":13: .*needs a `delay`"),
        ("work_from: \"07:00\"", "work_from: 7", r":4: .*a time of day is written like 08:30"),
        ("id: m-03", "id: m-01", r":16: .*a meter 'm-01' stands above already"),
        ("unit: 2", "unit: 1", r":9: .*unit 1 stands above already"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(right: str, wrong: str, message: str) -> None:
    with pytest.raises(DocumentMistakes, match=message):
        load_scenario(SMALL.replace(right, wrong, 1), "small.yaml")


def test_a_port_that_two_racks_want_is_a_mistake() -> None:
    text = SMALL.replace("  - meters:", "  - port: 5020\n    meters:")
    with pytest.raises(DocumentMistakes, match="port 5020 stands above already"):
        load_scenario(text, "small.yaml")
    assert [rack.port for rack in load_scenario(SMALL, "small.yaml").on_free_ports().racks] == [0, 0]


def test_names_that_nobody_knows_get_a_hint() -> None:
    with pytest.raises(UnknownScenario, match="did you mean 'office'"):
        shipped_scenario("offise")
    with pytest.raises(UnknownProfile, match="did you mean 'eastron-sdm630'"):
        profile_of("eastron-sdm-630", ModbusProfile)


def test_every_scenario_that_ships_is_right() -> None:
    assert "office" in scenario_names()
    for name in scenario_names():
        assert shipped_scenario(name).scenario == name


def test_the_office_has_twenty_meters_six_hundred_points_and_two_meters_that_are_wrong() -> None:
    office = shipped_scenario("office")
    meters = [meter for rack in office.racks for meter in rack.meters]
    assert [len(rack.meters) for rack in office.racks] == [5, 5, 5, 5]
    assert len({meter.profile for meter in meters}) == 4
    assert sum(len(profile_of(meter.profile, ModbusProfile).points) for meter in meters) == 600
    wrong = {meter.id: [anomaly.kind for anomaly in meter.anomalies] for meter in meters if meter.anomalies}
    assert wrong == {"m-09": ["excess"], "m-13": ["stuck"]}


async def test_every_point_of_the_office_lies_in_the_range_of_its_profile_all_the_time(
    virtual_clock: VirtualClock,
) -> None:
    office = shipped_scenario("office").on_free_ports()
    async with running(office, clock=virtual_clock.clock) as site:
        for at_ms in range(START_MS, START_MS + 12 * DAY_MS, 9 * HOUR_MS + 1):
            for meter in site.meters:
                for name, value in meter.display(at_ms).items():
                    point = meter.profile.point(name)
                    ratio = 1.0
                    for parameter in point.multiply_by:
                        ratio *= meter.parameters[parameter]
                    assert value is not None
                    assert point.min is None or value >= point.min * ratio, f"{meter.id} {name}"
                    assert point.max is None or value <= point.max * ratio, f"{meter.id} {name} {value}"


async def test_no_counter_of_the_office_grows_faster_than_its_profile_allows(
    virtual_clock: VirtualClock,
) -> None:
    office = shipped_scenario("office").on_free_ports()
    async with running(office, clock=virtual_clock.clock) as site:
        for meter in site.meters:
            before = meter.display(START_MS)
            for hour in range(1, 48):
                after = meter.display(START_MS + hour * HOUR_MS)
                for point in meter.profile.points:
                    grown = (after[point.name] or 0) - (before[point.name] or 0)
                    if point.kind == "counter":
                        assert grown >= 0
                    if point.max_rate_per_h is not None:
                        ratio = meter.parameters.get("ct", 1.0) if point.multiply_by else 1.0
                        assert grown <= point.max_rate_per_h * ratio, f"{meter.id} {point.name}"
                before = after


async def read_all(site: Site) -> bytes:
    """One reply of every meter."""
    came = b""
    for endpoint in site.endpoints:
        async with wire(endpoint.port) as line:
            for meter in endpoint.meters:
                point = meter.profile.points[0]
                function = 4 if point.table == "input" else 3
                came += await line.ask(read_frame(meter.unit, point.address, point.width, function=function))
    return came


async def test_a_scenario_runs_and_leaves_a_ledger(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    scenario = load_scenario(SMALL.replace("probability: 0.5", "times: 1"), "small.yaml")
    async with running(scenario, clock=virtual_clock.clock, ledger=ledger) as site:
        assert len(site.ports) == 2
        assert all(site.ports)
        async with wire(site.ports[1]) as line:
            for _ in range(2):
                assert (await line.ask(read_frame(1, 0x2000, 2, function=3)))[7] == 3
                await virtual_clock.advance(60)
            meter = site.meter("m-03")
            assert site.endpoint_of("m-03").meters == (meter,)
            meter.begin(Stuck(kind="stuck"))
            seen = meter.display(virtual_clock.now_ms())
            await virtual_clock.advance(600)
            assert meter.display(virtual_clock.now_ms()) == seen
        with pytest.raises(NoSuchMeter, match="m-77"):
            site.meter("m-77")
    assert [(entry.meter_id, entry.confirmed) for entry in produced(ledger)] == [
        ("m-03", True),
        ("m-03", False),
    ]


async def test_two_runs_with_one_seed_are_the_same_and_another_seed_is_not(
    virtual_clock: VirtualClock,
) -> None:
    office = shipped_scenario("office").on_free_ports()
    replies = []
    for scenario in (office, office, office.model_copy(update={"seed": 2})):
        async with running(scenario, clock=virtual_clock.clock, start_ms=START_MS - 8 * HOUR_MS) as site:
            replies.append(await read_all(site))
    assert replies[0] == replies[1] != replies[2]


async def test_a_scenario_that_cannot_listen_leaves_nothing_open(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    scenario = load_scenario(SMALL, "small.yaml")
    async with running(scenario, clock=virtual_clock.clock) as site:
        rack = scenario.racks[1].model_copy(update={"port": site.ports[0]})
        second = scenario.model_copy(update={"racks": (scenario.racks[0], rack)})
        with pytest.raises(CannotListen):
            async with running(second, clock=virtual_clock.clock, ledger=tmp_path / "ledger.jsonl"):
                pass


async def test_a_run_that_fails_has_no_good_end(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    scenario = load_scenario(SMALL, "small.yaml")

    async def break_off() -> None:
        async with (
            running(scenario, clock=virtual_clock.clock, ledger=ledger) as site,
            wire(site.ports[1]) as line,
        ):
            await line.ask(read_frame(1, 0x2000, 2, function=3))
            raise RuntimeError("the demonstration broke")

    with pytest.raises(RuntimeError, match="broke"):
        await break_off()
    assert [entry.confirmed for entry in produced(ledger)] == [False]


def test_all_profiles_that_ship_can_be_simulated() -> None:
    assert {"acrel-adl3000", "chint-dtsu666", "eastron-sdm630", "schneider-iem3000"} <= set(profile_names())
