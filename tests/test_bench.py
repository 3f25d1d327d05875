"""The benchmark is judged by its worst rows, not by its best."""

from dataclasses import replace

import pytest

from bench.appends import Result as Appends
from bench.backlog import Result as Drained
from bench.doors import Latency, latency_of
from bench.doors import Result as Events
from bench.edge import Result, Run
from bench.families import Cost
from bench.intake import Result as Intake
from bench.lines import Result as Line
from bench.lines import Survival
from bench.report import Figures, reached, report
from bench.restart import Result as Restarted
from bench.sealing import Cost as Sealing
from bench.size import Result as Size
from bench.sweeps import Sweep

BARE = Run(10, 20_000)
USUAL = Run(40, 200, 75)
AGENT = Result(BARE, steady=Run(30, 2_000), full=Run(25, 20_000, 90), usual=USUAL)
SIZES = [Size(60, 60, 600, 2.5), Size(60, 900, 9000, 0.8), Size(1, 10, 6000, 0.5)]
INTAKE = Intake(intake_per_s=60_000, bare_per_s=80_000, ratio=0.75, bytes_per_reading=1.4)
COSTS = [Cost("Modbus TCP", "20 registers", 4.0, 5.0), Cost("DL/T 645", "31 points", 100.0)]
SWEEPS = [Sweep("modbus", "one", 13, 3, 3), Sweep("modbus", "two", 33, 4, 4)]
SURVIVAL = Survival(calm=0.0, lengthening=0.07, share=0.05, backoff_s=8.0, back_s=8.2)
LINE = Line(sweep_s=0.24, wire_s=0.22, survival=SURVIVAL)
FAST, SLOW = Latency(p99=49.9, p50=2.0, worst=120.0), Latency(p99=50.0, p50=2.0, worst=50.0)
APPENDS = Appends(buffer_per_s=200_000, bare_per_s=150_000)
EVENTS = Events(pushed=FAST, streamed=FAST, alone=SLOW)
SEALINGS = [Sealing("an envelope of suite gm", 1500.0, 1200.0)]
GOOD = Figures(
    AGENT,
    SIZES,
    INTAKE,
    APPENDS,
    Drained(20_000),
    Restarted(0.1, 1.9, 100),
    COSTS,
    SWEEPS,
    LINE,
    EVENTS,
    SEALINGS,
)


def test_good_figures_reach_the_goals() -> None:
    assert reached(GOOD)


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(replace(GOOD, agent=replace(AGENT, steady=Run(41, 2_000))), id="steady-rate"),
        pytest.param(replace(GOOD, agent=replace(AGENT, full=Run(41, 20_000))), id="full-rate"),
        pytest.param(replace(GOOD, sizes=[*SIZES, Size(60, 300, 3000, 3.0)]), id="one-size"),
        pytest.param(replace(GOOD, agent=replace(AGENT, usual=Run(40, 200, 91))), id="memory"),
        pytest.param(replace(GOOD, restarted=Restarted(0.1, 2.1, 100)), id="restart"),
        pytest.param(replace(GOOD, drained=Drained(1_999)), id="backlog"),
        pytest.param(replace(GOOD, appended=Appends(100_000, 150_000)), id="appends"),
        pytest.param(replace(GOOD, taken=Intake(20_000, 80_000, 0.25, 1.4)), id="intake"),
        pytest.param(replace(GOOD, sweeps=[*SWEEPS, Sweep("modbus", "three", 8, 4, 3)]), id="requests"),
        pytest.param(replace(GOOD, line=replace(LINE, sweep_s=0.26)), id="sweep"),
        pytest.param(replace(GOOD, events=replace(EVENTS, pushed=SLOW)), id="pushed-event"),
        pytest.param(replace(GOOD, events=replace(EVENTS, streamed=SLOW)), id="streamed-event"),
        *(
            pytest.param(replace(GOOD, line=replace(LINE, survival=SURVIVAL._replace(**worse))), id=name)
            for name, worse in {
                "period": {"lengthening": 0.11},
                "share": {"share": 0.06},
                "return": {"back_s": 9.0},
            }.items()
        ),
    ],
)
def test_one_row_that_misses_its_goal_is_enough(figures: Figures) -> None:
    assert not reached(figures)


def test_the_report_names_the_worst_rows() -> None:
    text = report(GOOD)
    assert "**3.00 times** the processor time" in text
    assert "**2.50** (aim: at most 2.5)" in text
    assert "the slower way is **49.9 ms** (aim: under 50 ms)" in text


def test_the_report_has_each_family_profile_and_aim() -> None:
    lines = report(GOOD).splitlines()
    assert "| Modbus TCP | 20 registers | 4.0 µs | 5.0 µs | 0.80 |" in lines
    assert "| DL/T 645 | 31 points | 100.0 µs | – | – |" in lines
    assert "| two | modbus | 33 | 4 |" in lines
    assert any(line.endswith("| +7.0% | at most +10% |") for line in lines)
    assert "| the buffer alone: one event appended | 2.0 ms | 50.0 ms | 50.0 ms |" in lines


def test_99_of_100_events_are_within_the_p99() -> None:
    late = [0.200] * 6
    assert latency_of([0.002] * 594 + late) == Latency(p99=2.0, p50=2.0, worst=200.0)
    assert latency_of([0.002] * 593 + [0.003] + late) == Latency(p99=3.0, p50=2.0, worst=200.0)
    assert latency_of([0.002] * 593 + [*late, 0.200]).p99 == 200.0
