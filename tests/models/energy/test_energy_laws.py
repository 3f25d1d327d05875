"""What holds for the hours of any counter, whatever it does and in whatever order its readings come."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.energy import CONTEXT_READINGS, CounterFacts, Sample, State, consumption_by_hour
from models.energy.counter import usable
from models.reading import Quality
from models.times import HOUR_MS, hour_of

FACTS = [
    CounterFacts(),
    CounterFacts(modulus=1_000.0, decimals=0, period_s=900),
    CounterFacts(modulus=1_000.0, max_rate_per_h=40.0, decimals=1, period_s=300),
    CounterFacts(max_rate_per_h=40.0, decimals=2, period_s=3600),
]
facts_of_counters = st.sampled_from(FACTS)

# Few values and few distances, so that falls, returns, wraps and ties come up all the time.
troubled_values = st.sampled_from([0.0, 0.5, 1.0, 5.0, 12.0, 30.0, 500.0, 501.0, 502.0, 990.0, 999.0, 999.9])
distances_ms = st.sampled_from([60_000, 300_000, 900_000, 901_234, 3_600_000, 20_000_000])
qualities = st.sampled_from([Quality.GOOD] * 9 + [Quality.SUSPECT])


@st.composite
def troubled(draw: st.DrawFn, max_size: int = 60) -> list[Sample]:
    now_ms, samples = 1_790_000_000_000, []
    for value in draw(st.lists(troubled_values, max_size=max_size)):
        now_ms += draw(distances_ms)
        samples.append(Sample(now_ms, value, draw(qualities)))
    return samples


@st.composite
def growing(draw: st.DrawFn) -> list[Sample]:
    now_ms, value, samples = draw(st.integers(0, 10**9)), draw(st.floats(0, 1e6)), []
    steps = st.tuples(st.integers(1, 30_000_000), st.floats(0, 1e4))
    for duration_ms, amount in [(0, 0.0), *draw(st.lists(steps, min_size=1, max_size=50))]:
        now_ms, value = now_ms + duration_ms, value + amount
        samples.append(Sample(now_ms, value))
    return samples


def span(samples: list[Sample]) -> tuple[int, int]:
    if not samples:
        return 0, HOUR_MS
    return hour_of(samples[0].measured_ms), hour_of(samples[-1].measured_ms) + HOUR_MS


@given(growing())
def test_the_hours_add_up_to_what_the_counter_gained(samples: list[Sample]) -> None:
    start_ms, end_ms = span(samples)
    hours = consumption_by_hour(samples, CounterFacts(), start_ms=start_ms, end_ms=end_ms).hours
    gained = (samples[-1].value or 0) - (samples[0].value or 0)
    assert math.fsum(hour.value or 0 for hour in hours) == pytest.approx(gained, rel=1e-9, abs=1e-9)


@given(troubled(), facts_of_counters)
def test_no_hour_is_negative_and_none_is_zero_for_want_of_readings(
    samples: list[Sample], facts: CounterFacts
) -> None:
    start_ms, end_ms = span(samples)
    for hour in consumption_by_hour(samples, facts, start_ms=start_ms - HOUR_MS, end_ms=end_ms).hours:
        assert (hour.value is None) == (hour.state is State.MISSING)
        assert hour.value is None or hour.value >= 0
        assert 0 <= hour.coverage <= 1
        if hour.state is State.MEASURED and hour.coverage == 0:
            pytest.fail("measured, yet no part of it was")


@given(troubled(), facts_of_counters, st.randoms(use_true_random=False))
def test_the_order_in_which_readings_arrive_does_not_matter(
    samples: list[Sample], facts: CounterFacts, random: Random
) -> None:
    start_ms, end_ms = span(samples)
    in_order = consumption_by_hour(samples, facts, start_ms=start_ms, end_ms=end_ms)
    shuffled = samples.copy()
    random.shuffle(shuffled)
    assert consumption_by_hour(shuffled, facts, start_ms=start_ms, end_ms=end_ms) == in_order


@settings(max_examples=400)
@given(troubled(), facts_of_counters, st.data())
def test_an_hour_computed_from_its_neighbourhood_is_the_hour_computed_from_everything(
    samples: list[Sample], facts: CounterFacts, data: st.DataObject
) -> None:
    start_ms, end_ms = span(samples)
    whole = consumption_by_hour(samples, facts, start_ms=start_ms, end_ms=end_ms)
    first = data.draw(st.integers(0, len(whole.hours) - 1))
    last = data.draw(st.integers(first, len(whole.hours) - 1))
    from_ms, to_ms = whole.hours[first].hour_ms, whole.hours[last].hour_ms + HOUR_MS
    good = [Sample(*reading) for reading in usable(samples)]
    before = [s for s in good if s.measured_ms < from_ms][-CONTEXT_READINGS:]
    inside = [s for s in good if from_ms <= s.measured_ms < to_ms]
    after = [s for s in good if s.measured_ms >= to_ms][:CONTEXT_READINGS]
    part = consumption_by_hour(before + inside + after, facts, start_ms=from_ms, end_ms=to_ms)
    assert part.hours == whole.hours[first : last + 1]
    assert part.notices == [n for n in whole.notices if n.end_ms > from_ms and n.start_ms < to_ms]


@settings(max_examples=400)
@given(troubled(40), facts_of_counters, st.data())
def test_a_late_reading_changes_no_hour_beyond_its_neighbours(
    samples: list[Sample], facts: CounterFacts, data: st.DataObject
) -> None:
    good = [Sample(*reading) for reading in usable(samples)]
    if not good:
        return
    late = data.draw(st.integers(0, len(good) - 1))
    without = good[:late] + good[late + 1 :]
    start_ms, end_ms = span(samples)
    near_from = hour_of(good[max(0, late - CONTEXT_READINGS)].measured_ms)
    near_to = hour_of(good[min(len(good) - 1, late + CONTEXT_READINGS)].measured_ms)
    then = consumption_by_hour(without, facts, start_ms=start_ms, end_ms=end_ms)
    now = consumption_by_hour(good, facts, start_ms=start_ms, end_ms=end_ms)
    for before, after in zip(then.hours, now.hours, strict=True):
        assert before == after or near_from <= before.hour_ms <= near_to
