"""What is left out can be rebuilt from what is kept, and nothing that matters is left out."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import ReportSection
from edge_agent.reporting import ReportFilter
from models.reading import GATEWAY, Event, Item, Quality, Reading, Reason

SLACK = 1e-9  # for sums of floats


def sample(at_s: float, value: float | None, point: str = "power_kw", **more: Reason) -> Reading:
    at_ms = round(at_s * 1000)
    quality = Quality.BAD if value is None else Quality.GOOD
    reason = more.get("reason", Reason.NO_REPLY if value is None else Reason.NONE)
    return Reading(
        device_id="m-1", point=point, value=value, quality=quality, reason=reason, measured_ms=at_ms,
        received_ms=at_ms + 20,
    )  # fmt: skip


def kept(samples: Sequence[Item], **rule: float) -> list[Item]:
    filter_ = ReportFilter({"m-1": {"power_kw": ReportSection(**rule)}})
    return [item for one in samples for item in filter_.news([one])]


def times(items: Sequence[Item]) -> list[float]:
    return [item.measured_ms / 1000 for item in items]


def by_steps(curve: Sequence[Reading], at_ms: int) -> float:
    value = [reading.value for reading in curve if reading.measured_ms <= at_ms][-1]
    assert value is not None
    return value


def by_lines(curve: Sequence[Reading], at_ms: int) -> float | None:
    """On the line between two kept readings; after the last one nothing is known yet."""
    for one, two in pairwise(curve):
        if one.measured_ms <= at_ms <= two.measured_ms:
            assert one.value is not None
            assert two.value is not None
            part = (at_ms - one.measured_ms) / (two.measured_ms - one.measured_ms)
            return one.value + (two.value - one.value) * part
    return None


values = st.one_of(
    st.floats(-1000, 1000, allow_nan=False),
    st.sampled_from([0.0, 10.0, 10.4, 9.6, 10.5, 11.0]),
)
gaps_s = st.sampled_from([1, 1, 1, 1, 2, 5, 60])


@given(
    steps=st.lists(st.tuples(gaps_s, values), min_size=1, max_size=80),
    rule=st.one_of(
        st.builds(lambda band: {"dead_band": band}, st.sampled_from([0.5, 1.0, 100.0])),
        st.builds(lambda band: {"dead_band_pct": band}, st.sampled_from([1.0, 5.0, 50.0])),
        st.just({}),
    ),
)
def test_the_rebuilt_curve_is_within_the_dead_band_at_every_sample(
    steps: list[tuple[int, float]], rule: dict[str, float]
) -> None:
    at_s, samples = 0, []
    for gap_s, value in steps:
        at_s += gap_s
        samples.append(sample(at_s, value))
    curve = [item for item in kept(samples, **rule, max_interval_s=1e4) if isinstance(item, Reading)]
    assert [reading.measured_ms for reading in curve] == sorted({reading.measured_ms for reading in curve})
    for one in samples:
        assert one.value is not None
        for rebuilt in (by_steps(curve, one.measured_ms), by_lines(curve, one.measured_ms)):
            if rebuilt is None:
                continue
            anchors = [r.value for r in curve if r.measured_ms <= one.measured_ms and r.value is not None]
            band = rule.get("dead_band", abs(anchors[-1]) * rule.get("dead_band_pct", 0.0) / 100)
            assert abs(rebuilt - one.value) <= band * (1 + SLACK) + SLACK


def test_noise_within_the_dead_band_is_left_out() -> None:
    found = kept([sample(n, 10 + 0.4 * (-1) ** n) for n in range(100)], dead_band=1.0)
    assert len(found) <= 2


def test_a_jump_keeps_the_sample_before_it() -> None:
    found = kept([*(sample(n, 10.0) for n in range(10)), sample(10, 20.0)], dead_band=1.0)
    assert times(found) == [0, 9, 10]


def test_a_steady_ramp_is_kept_by_few_points_of_the_band() -> None:
    found = kept([sample(n, 0.1 * n) for n in range(101)], dead_band=1.0)
    assert times(found)[:2] == [0, 11]
    assert len(found) == 10


def test_without_a_dead_band_each_change_is_kept_and_nothing_else() -> None:
    found = kept([sample(0, 1), sample(1, 1), sample(2, 2), sample(3, 2), sample(4, 1)], max_interval_s=900)
    assert times(found) == [0, 1, 2, 3, 4]
    found = kept([sample(n, 1) for n in range(100)], max_interval_s=900)
    assert times(found) == [0]


def test_at_least_one_reading_is_kept_in_the_longest_interval() -> None:
    found = kept([sample(10 * n, 5.0) for n in range(31)], dead_band=1.0, max_interval_s=60)
    assert times(found) == [0, 60, 120, 180, 240, 300]
    found = kept([sample(25 * n, 5.0) for n in range(10)], dead_band=1.0, max_interval_s=60)
    assert all(two - one <= 60 for one, two in pairwise(times(found)))


def test_not_more_than_one_reading_is_kept_in_the_shortest_interval() -> None:
    found = kept([sample(n, 100.0 * n) for n in range(21)], dead_band=1.0, min_interval_s=5)
    assert times(found) == [0, 5, 10, 15, 20]


def test_a_device_that_is_lost_is_told_at_once_and_then_once_in_the_longest_interval() -> None:
    lost = [sample(n, None) for n in range(10, 200)]
    found = kept(
        [*(sample(n, 5.0) for n in range(10)), *lost, sample(200, 5.0)], dead_band=1.0, max_interval_s=60
    )
    assert times(found)[:3] == [0, 9, 10]
    assert times(found)[-1] == 200
    assert len([item for item in found if isinstance(item, Reading) and item.value is None]) == 5


def test_another_reason_is_news() -> None:
    found = kept(
        [sample(0, None), sample(1, None, reason=Reason.UNREACHABLE), sample(2, None)], max_interval_s=60
    )
    assert times(found) == [0, 1, 2]


@pytest.mark.parametrize(
    "rules", [{}, {"m-2": {"*": ReportSection()}}, {"m-1": {"voltage_v": ReportSection()}}]
)
def test_points_without_a_rule_and_events_are_kept_whole(rules: dict[str, dict[str, ReportSection]]) -> None:
    event = Event(device_id=GATEWAY, kind="agent.started", data={}, measured_ms=0, received_ms=0)
    items: list[Item] = [sample(0, 1.0), sample(1, 1.0), event]
    assert list(ReportFilter(rules).news(items)) == items


def test_a_rule_for_all_points_gives_way_to_that_of_a_point() -> None:
    rules = {"m-1": {"*": ReportSection(), "power_kw": ReportSection(dead_band=10)}}
    filter_ = ReportFilter(rules)
    items = [sample(n, float(n), point) for n in range(5) for point in ("power_kw", "voltage_v")]
    found = filter_.news(items)
    assert [item.point for item in found if isinstance(item, Reading)].count("power_kw") == 1
    assert [item.point for item in found if isinstance(item, Reading)].count("voltage_v") == 5


def test_a_reading_that_comes_late_is_kept() -> None:
    assert times(kept([sample(10, 1.0), sample(5, 1.0), sample(11, 1.0)], dead_band=1)) == [10, 5]
