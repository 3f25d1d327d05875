"""What a step between two readings of a counter is taken for."""

import pytest

from models.energy import CounterFacts, HourConsumption, NoticeKind, Sample, State, consumption_by_hour
from models.reading import Quality
from models.times import HOUR_MS

MINUTE_MS = 60_000
FACTS = CounterFacts(modulus=1_000_000.0, max_rate_per_h=100.0, decimals=2, period_s=900)
T0 = 1_790_002_800_000  # the beginning of an hour


def at(minute: float, value: float | None, quality: Quality = Quality.GOOD) -> Sample:
    return Sample(T0 + round(minute * MINUTE_MS), value, quality)


def every_quarter(*values: float) -> list[Sample]:
    return [at(15 * n, value) for n, value in enumerate(values)]


def hours(samples: list[Sample], count: int = 2, facts: CounterFacts = FACTS) -> list[HourConsumption]:
    return consumption_by_hour(samples, facts, start_ms=T0, end_ms=T0 + count * HOUR_MS).hours


def notices(samples: list[Sample], count: int = 2, facts: CounterFacts = FACTS) -> list[NoticeKind]:
    ledger = consumption_by_hour(samples, facts, start_ms=T0, end_ms=T0 + count * HOUR_MS)
    return [notice.kind for notice in ledger.notices]


def brief(samples: list[Sample], count: int = 2, facts: CounterFacts = FACTS) -> list[tuple[object, ...]]:
    return [
        (None if hour.value is None else round(hour.value, 6), round(hour.coverage, 6), hour.state.value)
        for hour in hours(samples, count, facts)
    ]


def test_readings_on_the_hour_give_each_hour_what_the_counter_gained() -> None:
    samples = every_quarter(100, 105, 110, 115, 120, 126, 132, 138, 144)
    assert brief(samples) == [(20, 1, "measured"), (24, 1, "measured")]


def test_a_reading_13_seconds_after_the_hour_gives_the_hour_before_its_due() -> None:
    samples = [at(15 * n + 13 / 60, 100 + 9 * n) for n in range(-1, 6)]
    assert brief(samples, 1) == [(36, 1, "measured")]


def test_an_hour_that_has_only_begun_says_how_much_of_it_is_known() -> None:
    assert brief(every_quarter(100, 105, 110), 2) == [(10, 0.5, "measured"), (None, 0, "missing")]


def test_what_was_not_measured_is_missing_and_never_zero() -> None:
    assert brief([], 1) == [(None, 0, "missing")]
    assert brief([at(10, 100)], 1) == [(None, 0, "missing")]
    assert brief([at(n, None, Quality.BAD) for n in range(0, 60, 15)], 1) == [(None, 0, "missing")]


def test_a_meter_that_really_uses_nothing_has_used_nothing() -> None:
    assert brief(every_quarter(100, 100, 100, 100, 100), 1) == [(0, 1, "measured")]


def test_only_good_readings_count() -> None:
    samples = every_quarter(100, 105, 110, 115, 120)
    samples[2] = at(30, 9_999, Quality.SUSPECT)
    samples.append(at(40, None, Quality.BAD))
    samples.append(at(50, float("nan")))
    assert brief(samples, 1) == [(20, 1, "measured")]


def test_a_counter_that_starts_again_at_its_modulus_has_gone_on_counting() -> None:
    samples = every_quarter(999_990, 999_995, 0, 5, 10)
    assert brief(samples, 1) == [(20, 1, "measured")]
    assert notices(samples) == [NoticeKind.ROLLOVER]


def test_a_fall_that_would_be_too_much_for_a_rollover_is_a_reset() -> None:
    samples = every_quarter(900_000, 900_005, 0, 5, 10, 15)
    assert brief(samples, 1) == [(15, 0.75, "suspect")]
    assert notices(samples) == [NoticeKind.RESET]


def test_without_a_greatest_rate_a_rollover_must_be_near_the_modulus() -> None:
    facts = CounterFacts(modulus=1_000_000.0, period_s=900)
    assert notices(every_quarter(999_000, 999_500, 0, 500, 1_000, 1_500), facts=facts) == ["rollover"]
    assert notices(every_quarter(970_000, 970_500, 0, 500, 1_000, 1_500), facts=facts) == ["reset"]


def test_another_meter_in_its_place_costs_that_interval_and_is_told() -> None:
    facts = CounterFacts(max_rate_per_h=100.0, period_s=900)
    samples = every_quarter(840_000, 840_005, 5_000, 5_005, 5_010, 5_015, 5_020)
    [first, second] = hours(samples, facts=facts)
    assert (first.value, first.coverage, first.state) == (15, 0.75, State.SUSPECT)
    assert (second.value, second.state) == (10, State.MEASURED)
    ledger = consumption_by_hour(samples, facts, start_ms=T0, end_ms=T0 + HOUR_MS)
    [notice] = ledger.notices
    assert (notice.kind, notice.before, notice.after) == (NoticeKind.RESET, 840_005, 5_000)
    assert (notice.start_ms, notice.end_ms) == (T0 + 15 * MINUTE_MS, T0 + 30 * MINUTE_MS)


@pytest.mark.parametrize("zeros", [1, 2, 3])
def test_a_few_zeros_in_between_are_ignored(zeros: int) -> None:
    samples = every_quarter(5_000, 5_005, 5_010, *[0] * zeros, 5_015 + 5 * zeros, 5_020 + 5 * zeros)
    ledger = consumption_by_hour(samples, FACTS, start_ms=T0, end_ms=T0 + 2 * HOUR_MS)
    assert sum(hour.value or 0 for hour in ledger.hours) == pytest.approx(20 + 5 * zeros)
    assert [notice.kind for notice in ledger.notices] == [NoticeKind.GLITCH]
    # Two zeros in a row leave 45 minutes open across the hour.
    assert {hour.state for hour in ledger.hours} == {State.MEASURED if zeros == 1 else State.ESTIMATED}


def test_a_zero_that_has_just_arrived_is_left_out_but_not_yet_called_a_reset() -> None:
    samples = every_quarter(5_000, 5_005, 0)
    assert brief(samples, 1) == [(5, 0.25, "suspect")]
    assert notices(samples) == []


def test_a_step_back_inside_the_float_of_the_meter_is_nothing() -> None:
    samples = every_quarter(1_000_000.0, 1_000_000.0625, 1_000_000.0, 1_000_000.125, 1_000_000.125)
    facts = CounterFacts(max_rate_per_h=100.0, decimals=3, period_s=900)
    assert brief(samples, 1, facts) == [(0.125, 1, "measured")]
    at_its_end = every_quarter(1_000_000.0, 1_000_000.0625, 1_000_000.0)
    assert brief(at_its_end, 1, facts) == [(0.0625, 0.5, "measured")]


def test_a_large_float_counter_may_stand_and_then_jump_by_its_step() -> None:
    facts = CounterFacts(max_rate_per_h=10.0, decimals=3, period_s=60)
    samples = [at(n, 10_000_000 + n // 12) for n in range(61)]
    assert brief(samples, 1, facts) == [(5, 1, "measured")]


def test_a_fall_to_a_value_that_it_might_have_reached_again_by_counting_is_left_out() -> None:
    samples = every_quarter(5, 10, 0, 12, 17)  # 12 in a quarter is possible: glitch or new meter?
    assert brief(samples, 1) == [(10, 0.5, "suspect")]
    assert notices(samples) == [NoticeKind.AMBIGUOUS]


def test_twice_the_greatest_rate_is_possible_and_more_is_not() -> None:
    assert brief(every_quarter(0, 50, 100, 150, 200), 1) == [(200, 1, "measured")]
    samples = every_quarter(0, 5, 56, 61, 66)
    assert brief(samples, 1) == [(15, 0.75, "suspect")]
    assert notices(samples) == [NoticeKind.TOO_FAST]


def test_a_reading_that_stands_out_upwards_spoils_the_way_up_and_the_way_down() -> None:
    facts = CounterFacts(period_s=900)  # nothing says how fast it may be
    samples = every_quarter(100, 105, 1_110, 115, 120, 125, 130, 135, 140)
    assert brief(samples, 2, facts) == [(10, 0.5, "suspect"), (20, 1, "measured")]


def test_over_a_gap_the_total_is_kept_and_its_hours_are_estimates() -> None:
    samples = [at(0, 100), at(15, 105), at(30, 110), at(30 + 180, 170), at(30 + 195, 175), at(240, 180)]
    assert brief(samples, 4) == [
        (20, 0.5, "estimated"),
        (20, 0, "estimated"),
        (20, 0, "estimated"),
        (20, 0.5, "estimated"),
    ]


def test_a_gap_inside_one_hour_leaves_nothing_to_estimate() -> None:
    samples = [at(0, 100), at(5, 102), at(55, 118), at(60, 120)]
    facts = CounterFacts(period_s=60)
    assert brief(samples, 1, facts) == [(20, 1, "measured")]


def test_one_lost_reading_is_no_gap() -> None:
    samples = every_quarter(100, 105, 110, 115, 120, 125, 130, 135, 140)
    del samples[4]
    assert [state for _, _, state in brief(samples)] == ["measured", "measured"]


@pytest.mark.parametrize(
    ("period_s", "gap_min"),
    [(None, 60), (10, 5), (60, 5), (300, 12.5), (900, 37.5), (3600, 90), (86_400, 90)],
)
def test_how_far_apart_readings_may_be_follows_their_period(period_s: float | None, gap_min: float) -> None:
    assert CounterFacts(period_s=period_s).gap_ms == gap_min * MINUTE_MS
