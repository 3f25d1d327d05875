"""What the model takes for odd, on buildings whose every hour is known."""

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from models.anomaly import Why, assess, findings, score
from models.anomaly.grid import decaying_mean

DAY_S = 86_400
HOUR_S = 3_600
MONDAY = 1_789_948_800  # 2026-09-21

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def building(days: int, interval_s: int = HOUR_S, noise: float = 0.02) -> tuple[Ints, Floats]:
    """Mean load in kW: 20 by night and on weekends, 100 in working hours, with a little noise."""
    time = np.arange(MONDAY, MONDAY + days * DAY_S, interval_s)
    hour = time % DAY_S / HOUR_S
    works = ((time - MONDAY) // DAY_S % 7 < 5) & (hour >= 8) & (hour < 18) & (interval_s < DAY_S)
    load = np.where(works, 100.0, 20.0)
    if interval_s == DAY_S:
        load = np.where((time - MONDAY) // DAY_S % 7 < 5, 53.0, 20.0)
    random = np.random.default_rng(7)
    return time, np.round(load * (1 + noise * random.standard_normal(len(time))), 2)


def hours(day: int, first: int, last: int) -> slice:
    return slice(24 * day + first, 24 * day + last)


@pytest.mark.parametrize("interval_s", [60, 300, 900, 1800, 3600, DAY_S])
def test_a_building_that_does_the_same_every_week_is_never_flagged(interval_s: int) -> None:
    time, load = building(28 if interval_s < 900 else 120, interval_s)
    scores, flags = score(time, load)
    assert not flags.any()
    assert np.isfinite(scores[time >= time[0] + 7 * DAY_S]).all()


@pytest.mark.parametrize("interval_s", [60, 900, 1800, 3600])
def test_an_afternoon_at_twice_the_load_is_flagged_at_any_interval(interval_s: int) -> None:
    time, load = building(35, interval_s)
    odd = (time >= MONDAY + 30 * DAY_S + 12 * HOUR_S) & (time < MONDAY + 30 * DAY_S + 17 * HOUR_S)
    load[odd] *= 2
    _, flags = score(time, load)
    assert flags[odd].mean() > 0.9
    assert not flags[time < MONDAY + 30 * DAY_S].any()


def test_a_day_at_twice_the_load_is_flagged_in_daily_data() -> None:
    time, load = building(90, DAY_S)
    load[80] *= 2
    assert np.flatnonzero(score(time, load)[1]).tolist() == [80]


def test_a_night_that_runs_through_is_found_after_ten_days_of_history() -> None:
    time, load = building(11)
    load[hours(9, 20, 24)] += 15
    load[hours(10, 0, 7)] += 15
    found = assess(time, load)
    assert found.flags[hours(9, 21, 24)].all()
    assert not found.flags[: 9 * 24 + 20].any()
    np.testing.assert_allclose(found.expected[hours(9, 20, 24)], 20, rtol=0.05)


def test_a_night_that_runs_through_stays_found_after_midnight_and_a_loss_of_data() -> None:
    time, load = building(11)
    load[hours(9, 20, 24)] += 15
    load[hours(10, 0, 7)] += 15
    load[hours(9, 21, 24)] = np.nan
    load[hours(10, 0, 2)] = np.nan
    assert score(time, load)[1][hours(10, 2, 7)].all()


def test_before_a_week_nothing_is_said() -> None:
    time, load = building(7)
    load[50] = 10_000
    scores, flags = score(time, load)
    assert np.isnan(scores).all()
    assert not flags.any()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_series_that_has_hardly_begun_is_no_mistake(count: int) -> None:
    time, load = building(1)
    scores, flags = score(time[:count], load[:count])
    assert np.isnan(scores).all()
    assert len(scores) == len(flags) == count
    assert not flags.any()


def test_a_missing_value_has_no_score_and_the_one_after_a_loss_tells_of_it() -> None:
    time, load = building(30)
    load[hours(20, 9, 13)] = np.nan
    found = assess(time, load)
    assert np.isnan(found.scores[hours(20, 9, 13)]).all()
    assert not found.flags[hours(20, 9, 13)].any()
    after = 20 * 24 + 13
    assert found.flags[after]
    assert found.why[after] == Why.AFTER_LOSS


def test_rows_that_are_not_there_are_a_loss_as_well() -> None:
    time, load = building(30)
    keep = np.ones(len(time), bool)
    keep[hours(20, 9, 13)] = False
    found = assess(time[keep], load[keep])
    assert found.why[20 * 24 + 9] == Why.AFTER_LOSS


def test_several_odd_hours_are_odder_than_one() -> None:
    time, load = building(40)
    one, several = load.copy(), load.copy()
    one[hours(35, 12, 13)] = 130
    several[hours(35, 10, 16)] = 130
    assert np.nanmax(score(time, one)[0][35 * 24 :]) < np.nanmax(score(time, several)[0][35 * 24 :])


def test_a_meter_without_any_variation_is_not_flagged_for_the_slightest_one() -> None:
    time = np.arange(MONDAY, MONDAY + 60 * DAY_S, HOUR_S)
    load = np.full(len(time), 5.0)
    load[1200] = 5.01
    assert not score(time, load)[1].any()


def test_a_value_that_stands_still_is_flagged_where_values_never_did() -> None:
    time, load = building(60)
    load[hours(50, 0, 20)] = load[hours(50, 0, 1)]
    found = assess(time, load)
    assert Why.STUCK in found.why[hours(50, 0, 20)]


def test_nothing_at_all_is_flagged_unless_the_meter_often_shows_nothing() -> None:
    time, load = building(60)
    load[hours(50, 1, 5)] = 0
    assert score(time, load)[1][hours(50, 1, 6)].any()
    boiler = np.where(time % DAY_S < 6 * HOUR_S, 0.0, load)
    assert not score(time, boiler, kind="gas")[1].any()


def test_a_negative_value_is_flagged_and_not_learned() -> None:
    time, load = building(60)
    load[1000] = -99_000.0
    found = assess(time, load)
    assert found.flags[1000]
    assert found.why[1000] == Why.NEGATIVE
    assert not found.flags[1030:].any()


def test_one_absurd_value_does_not_hide_what_comes_after_it() -> None:
    time, load = building(60)
    load[900] = 1e9
    load[hours(50, 9, 17)] *= 2
    assert score(time, load)[1][hours(50, 9, 17)].all()


def test_a_working_day_that_is_like_a_sunday_is_no_anomaly() -> None:
    time, load = building(60)
    load[hours(50, 0, 24)] = load[hours(48, 0, 24)]
    assert not score(time, load)[1].any()


def test_a_calendar_says_which_weekend_is_worked() -> None:
    time, load = building(61)
    load[hours(60, 0, 24)] = load[hours(56, 0, 24)]  # 2026-11-20, a Friday, stands for Saturday
    saturday = 54
    load[hours(saturday, 0, 24)] = load[hours(50, 0, 24)]
    works = date.fromordinal(date(2026, 9, 21).toordinal() + saturday)
    assert works.weekday() == 5
    assert score(time, load)[1][hours(saturday, 0, 24)].any()
    assert not score(time, load, calendar={works: True})[1][hours(saturday, 0, 24)].any()


def test_time_may_be_given_as_datetime64() -> None:
    time, load = building(30)
    as_seconds, _ = score(time, load)
    as_dates, _ = score(time.astype("datetime64[s]").astype("datetime64[ns]"), load)
    np.testing.assert_array_equal(as_seconds, as_dates)


def test_times_that_are_not_to_the_second_are_as_good() -> None:
    time, load = building(40)
    load[hours(35, 9, 17)] *= 2
    _, flags = score(time + 13, load)
    assert flags[hours(35, 9, 17)].all()


def test_flagged_hours_become_findings_that_say_what_they_cost() -> None:
    time, load = building(40)
    load[hours(35, 9, 17)] *= 2
    found = assess(time, load)
    [finding] = findings(time, load, found, interval_s=HOUR_S)
    assert (finding.start_s, finding.end_s) == (
        MONDAY + (35 * 24 + 9) * HOUR_S,
        MONDAY + (35 * 24 + 17) * HOUR_S,
    )
    assert finding.excess == pytest.approx(800, rel=0.05)
    assert finding.title("zh") == "用量异常偏高"
    assert finding.title("en") == "Unusually high use"
    assert "8 小时内预期 798.7 kWh，实际 1,600 kWh，相差 +801.4 kWh" in finding.text("zh", "kWh")
    assert "In 8 h 798.7 kWh were expected and 1,600 kWh seen" in finding.text("en", "kWh")


def test_less_than_expected_is_said_to_be_low() -> None:
    time, load = building(40)
    load[hours(35, 9, 17)] *= 0.05
    [finding] = findings(time, load, assess(time, load), interval_s=HOUR_S)
    assert finding.excess < 0
    assert finding.title("en") == "Unusually low use"


def test_a_decaying_mean_by_days_is_the_one_by_samples() -> None:
    cells = np.random.default_rng(1).standard_normal((5, 24))
    mean, keep, expected = 0.0, 0.5 ** (1 / 6), []
    for value in cells.ravel():
        mean = keep * mean + (1 - keep) * value
        expected.append(mean)
    np.testing.assert_allclose(decaying_mean(cells, 6.0, HOUR_S).ravel(), expected)
