"""The energy of a load is the integral of its power, whoever asks and when."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.times import DAY_MS
from simulators.building import Building
from simulators.load import SEGMENT_MS, Load, Surplus
from tests.support.clocks import START_MS

HOUR_MS = 3_600_000
MONDAY_MS = START_MS - (START_MS + 8 * HOUR_MS) % DAY_MS  # 2026-09-21 00:00 in the building
moments = st.integers(START_MS, START_MS + 9 * DAY_MS)


def a_load(seed: int = 7, *surplus: Surplus) -> Load:
    load = Load(Building(seed=seed), name="m-01", kw=30.0, origin_ms=START_MS)
    for each in surplus:
        load.add(each)
    return load


def integral_uj(load: Load, start_ms: int, end_ms: int) -> Fraction:
    """The area under the power, added up by trapezoids between its corners: an own sum, not the load's."""
    area = Fraction(0)
    corners = [start_ms, *range(start_ms - start_ms % SEGMENT_MS + SEGMENT_MS, end_ms, SEGMENT_MS), end_ms]
    for left, right in pairwise(corners):
        if right - left < 2:
            area += Fraction(load.power_mw(left)) * (right - left)
            continue
        # The power may jump at a corner, so each straight piece is taken from two moments inside it.
        first, second = Fraction(load.power_mw(left)), Fraction(load.power_mw(right - 1))
        slope = (second - first) / (right - 1 - left)
        area += (first + first + slope * (right - left)) / 2 * (right - left)
    return area


surpluses = st.builds(
    Surplus,
    start_ms=moments,
    end_ms=st.none() | moments,
    factor=st.floats(0, 5),
    extra_mw=st.integers(0, 10**8),
    hours=st.none() | st.tuples(st.floats(0, 24), st.floats(0, 24)),
)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), one=moments, other=moments, surplus=st.lists(surpluses, max_size=2))
def test_the_difference_of_two_readings_is_the_integral_of_the_power(
    seed: int, one: int, other: int, surplus: list[Surplus]
) -> None:
    load = a_load(seed, *surplus)
    start_ms, end_ms = sorted((one, other))
    used = load.energy_uj(end_ms)[0] - load.energy_uj(start_ms)[0]
    assert abs(used - integral_uj(load, start_ms, end_ms)) < 1_000_000  # 1 J; a kWh is 3.6 million


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), asked=st.lists(moments, min_size=2, max_size=40))
def test_it_does_not_matter_who_asked_before(seed: int, asked: list[int]) -> None:
    jumping, orderly = a_load(seed), a_load(seed)
    answers = {at_ms: (jumping.energy_uj(at_ms), jumping.power_mw(at_ms)) for at_ms in asked}
    for at_ms in sorted(asked):
        assert (orderly.energy_uj(at_ms), orderly.power_mw(at_ms)) == answers[at_ms]


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(moments, min_size=2, max_size=40), surplus=st.lists(surpluses, max_size=2))
def test_energy_never_falls_and_its_tariffs_add_up(asked: list[int], surplus: list[Surplus]) -> None:
    load = a_load(3, *surplus)
    readings = [load.energy_uj(at_ms) for at_ms in sorted(asked)]
    assert readings == sorted(readings)
    for before, after in pairwise(readings):
        assert all(a <= b for a, b in zip(before, after, strict=True))
    assert all(sum(by_tariff) == total for total, *by_tariff in readings)


def test_another_seed_is_another_building() -> None:
    assert a_load(1).energy_uj(START_MS + DAY_MS) != a_load(2).energy_uj(START_MS + DAY_MS)


@pytest.mark.parametrize(
    ("day", "hour", "low", "high"),
    [
        pytest.param(0, 3.0, 5.0, 8.0, id="night: the base load"),
        pytest.param(0, 10.5, 26.0, 34.0, id="morning: what it is said to draw"),
        pytest.param(0, 12.75, 20.0, 28.0, id="lunch: a dip"),
        pytest.param(0, 15.0, 25.0, 33.0, id="afternoon"),
        pytest.param(0, 22.5, 5.0, 8.0, id="evening"),
        pytest.param(5, 10.5, 7.0, 12.0, id="Saturday: hardly anybody"),
    ],
)
def test_an_office_lives_by_the_day_and_the_week(day: int, hour: float, low: float, high: float) -> None:
    at_ms = MONDAY_MS + 7 * DAY_MS + day * DAY_MS + int(hour * HOUR_MS)
    assert low < a_load().power_mw(at_ms) / 1e6 < high


def test_a_night_surplus_draws_at_night_only() -> None:
    surplus = Surplus(start_ms=START_MS, end_ms=None, extra_mw=5_000_000, hours=(22, 6))
    usual, raised = a_load(), a_load(7, surplus)
    for hour, more_kw in ((3, 5.0), (12, 0.0), (21.9, 0.0), (22.1, 5.0)):
        at_ms = MONDAY_MS + 7 * DAY_MS + int(hour * HOUR_MS)
        assert (raised.power_mw(at_ms) - usual.power_mw(at_ms)) / 1e6 == pytest.approx(more_kw, abs=1e-9)
    day_ms = MONDAY_MS + 7 * DAY_MS + 12 * HOUR_MS
    more_uj = [load.energy_uj(day_ms + DAY_MS)[0] - load.energy_uj(day_ms)[0] for load in (raised, usual)]
    assert (more_uj[0] - more_uj[1]) / 3.6e12 == pytest.approx(8 * 5.0)  # 8 hours of 5 kW


def test_a_surplus_that_ends_early_keeps_what_it_used() -> None:
    surplus = Surplus(start_ms=START_MS, end_ms=None, factor=2.0)
    usual, raised = a_load(), a_load(7, surplus)
    end_ms = START_MS + 3 * DAY_MS
    used = raised.energy_uj(end_ms)[0]
    raised.end(surplus, end_ms)
    assert raised.energy_uj(end_ms)[0] == used == pytest.approx(2 * usual.energy_uj(end_ms)[0], rel=0.01)
    assert raised.power_mw(end_ms + DAY_MS) == usual.power_mw(end_ms + DAY_MS)
