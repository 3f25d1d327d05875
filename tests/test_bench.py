"""The benchmark is judged by its worst rows, not by its best."""

import pytest

from bench.__main__ import reached, report
from bench.edge import Result, Run
from bench.intake import Result as Intake
from bench.size import Result as Size

BARE = Run(10, 20_000)
GOOD = Result(BARE, steady=Run(30, 2_000), full=Run(25, 20_000, 90))
SIZES = [Size(60, 60, 600, 2.5), Size(60, 900, 9000, 0.8), Size(1, 10, 6000, 0.5)]
INTAKE = Intake(intake_per_s=60_000, bare_per_s=80_000, ratio=0.75, bytes_per_reading=1.4)


def test_good_figures_reach_the_goals() -> None:
    assert reached(GOOD, SIZES, INTAKE)


@pytest.mark.parametrize(
    ("agent", "sizes", "intake"),
    [
        pytest.param(Result(BARE, Run(41, 2_000), Run(25, 20_000)), SIZES, INTAKE, id="steady-rate"),
        pytest.param(Result(BARE, Run(30, 2_000), Run(41, 20_000)), SIZES, INTAKE, id="full-rate"),
        pytest.param(GOOD, [*SIZES, Size(60, 300, 3000, 3.0)], INTAKE, id="one-size"),
        pytest.param(GOOD, SIZES, Intake(20_000, 80_000, 0.25, 1.4), id="intake"),
    ],
)
def test_one_row_that_misses_its_goal_is_enough(agent: Result, sizes: list[Size], intake: Intake) -> None:
    assert not reached(agent, sizes, intake)


def test_the_report_names_the_worst_rows() -> None:
    text = report(GOOD, SIZES, INTAKE)
    assert "**3.00 times** the processor time" in text
    assert "**2.50** (aim: at most 2.9)" in text
