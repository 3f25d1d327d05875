"""A bad week of a real agent and a real collector, on a virtual clock: nothing lost, doubled or invented."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from models.times import HOUR_MS
from simulators.lab.plan import Trace, plan
from soak.week import Outcome, live_through, prepare

WEEK_WITHIN_S = 60.0


def lived_through(trace: Trace, folder: Path) -> Outcome:
    folder.mkdir()
    return live_through(trace, folder, prepare(folder))


def without_time(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "seconds": None}


@pytest.mark.parametrize(
    "hours", [pytest.param(12, id="hours"), pytest.param(168, id="a week", marks=pytest.mark.soak)]
)
def test_a_bad_time_loses_doubles_and_invents_nothing_and_is_the_same_each_time(
    tmp_path: Path, lab_seed: int, hours: int
) -> None:
    trace = plan(lab_seed, hours * HOUR_MS)
    first = lived_through(trace, tmp_path / "first")
    assert first.is_good, without_time(first) | {"journal": first.journal[-20:]}
    assert first.taken == first.stored + first.died_in_memory
    assert first.looks > 10
    assert {"agent.kill", "collector.kill", "disk.full"} & first.faults.keys()
    if hours == 168:
        assert first.seconds < WEEK_WITHIN_S
    second = lived_through(trace, tmp_path / "second")
    assert second.journal == first.journal
    assert without_time(second) == without_time(first)
