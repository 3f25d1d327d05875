"""Seven things that happen to every counter some day, from 1 kW to 5 MW, read every 1, 5 or 15 minutes.

For each: the energy that is counted is the energy of the time for which it is counted (within 0.05 %), and
no hour that is said to be measured is wrong.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from models.energy import (
    CounterFacts,
    HourConsumption,
    Ledger,
    NoticeKind,
    Sample,
    State,
    consumption_by_hour,
)
from models.reading import Quality
from models.times import HOUR_MS

T0 = 1_790_002_800_000
COUNT = 72  # hours
MODULUS = 1_000_000.0


@dataclass(frozen=True)
class Trace:
    """A meter as it really was, and the readings that came of it."""

    used: Callable[[int], float]  # since T0, up to a time
    samples: list[Sample]
    happened_ms: int  # when what is tested happens
    period_ms: int


def trace(mean_kw: float, period_min: int, start: float, seed: int = 1) -> Trace:
    random = Random(seed)
    period_ms = period_min * 60_000

    def used(ms: int) -> float:
        hours = (ms - T0) / HOUR_MS
        day = 12 / math.pi * 0.6 * (math.cos(math.pi * 8 / 12) - math.cos(math.pi * (hours + 8) / 12))
        return mean_kw * (hours + day)

    samples = []
    for number in range(-1, COUNT * HOUR_MS // period_ms + 2):
        ms = T0 + number * period_ms + random.randrange(2_000)  # polling is not to the millisecond
        samples.append(Sample(ms, round(start + used(ms), 2)))
    return Trace(used, samples, T0 + 40 * HOUR_MS + 17 * 60_000, period_ms)


def ledger(samples: list[Sample], facts: CounterFacts) -> Ledger:
    return consumption_by_hour(samples, facts, start_ms=T0, end_ms=T0 + COUNT * HOUR_MS)


def no_measured_hour_is_wrong(meter: Trace, hours: list[HourConsumption]) -> None:
    for hour in hours:
        truth = meter.used(hour.hour_ms + HOUR_MS) - meter.used(hour.hour_ms)
        if hour.state is State.MEASURED and hour.coverage > 0.9999:
            assert hour.value == pytest.approx(truth, rel=0.05), hour


def total_is_right(meter: Trace, hours: list[HourConsumption], left_out: float = 0.0) -> None:
    truth = meter.used(T0 + COUNT * HOUR_MS) - meter.used(T0) - left_out
    assert math.fsum(hour.value or 0 for hour in hours) == pytest.approx(truth, rel=0.0005)


def flagged(hours: list[HourConsumption]) -> int:
    return sum(hour.state is not State.MEASURED for hour in hours)


pytestmark = [
    pytest.mark.parametrize("mean_kw", [1.0, 40.0, 200.0, 5_000.0]),
    pytest.mark.parametrize("period_min", [1, 5, 15]),
    pytest.mark.parametrize("knows_rate", [True, False], ids=["rate", "no-rate"]),
]


@pytest.fixture
def facts(mean_kw: float, period_min: int, knows_rate: bool) -> CounterFacts:
    return CounterFacts(
        modulus=MODULUS,
        max_rate_per_h=2 * mean_kw if knows_rate else None,
        decimals=2,
        period_s=period_min * 60,
    )


def test_nothing_happens(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, 300_000)
    found = ledger(meter.samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
    assert (flagged(found.hours), found.notices) == (0, [])


def test_the_counter_rolls_over(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, MODULUS - 40 * mean_kw)
    samples = [Sample(ms, round((value or 0) % MODULUS, 2)) for ms, value, _ in meter.samples]
    found = ledger(samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
    assert (flagged(found.hours), [n.kind for n in found.notices]) == (0, [NoticeKind.ROLLOVER])


@pytest.mark.parametrize("initial", [0.0, 5_000.0], ids=["new", "used"])
def test_the_meter_is_replaced_and_nobody_says_so(
    mean_kw: float, period_min: int, facts: CounterFacts, initial: float
) -> None:
    meter = trace(mean_kw, period_min, 500_000)
    old_final = 500_000 + meter.used(meter.happened_ms)
    samples = [
        s if s.measured_ms < meter.happened_ms else Sample(s[0], round((s[1] or 0) - old_final + initial, 2))
        for s in meter.samples
    ]
    found = ledger(samples, facts)
    [notice] = found.notices
    assert notice.kind is NoticeKind.RESET
    assert notice.start_ms < meter.happened_ms <= notice.end_ms
    total_is_right(meter, found.hours, meter.used(notice.end_ms) - meter.used(notice.start_ms))
    no_measured_hour_is_wrong(meter, found.hours)
    assert 1 <= flagged(found.hours) <= 2


def test_six_hours_of_readings_are_lost(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, 300_000)
    end_ms = meter.happened_ms + 6 * HOUR_MS
    samples = [s for s in meter.samples if not meter.happened_ms <= s.measured_ms < end_ms]
    found = ledger(samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
    estimated = [hour for hour in found.hours if hour.state is State.ESTIMATED]
    assert len(estimated) == flagged(found.hours) == 7
    assert [hour.coverage for hour in estimated[1:-1]] == [0.0] * 5
    before = [s for s in samples if s.measured_ms < meter.happened_ms]
    after = [s for s in samples if s.measured_ms >= end_ms]
    around = [hour.value or 0 for part in (before, after) for hour in ledger(part, facts).hours]
    gained = (after[0].value or 0) - (before[-1].value or 0)
    everything = math.fsum(hour.value or 0 for hour in found.hours)
    assert everything == pytest.approx(math.fsum(around) + gained, rel=1e-9)


def test_six_hours_of_readings_come_late(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, 300_000)
    end_ms = meter.happened_ms + 6 * HOUR_MS
    late = [s for s in meter.samples if meter.happened_ms <= s.measured_ms < end_ms]
    in_time = [s for s in meter.samples if s not in late]
    found = ledger(in_time + late[::-1], facts)
    assert found == ledger(meter.samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
    assert flagged(found.hours) == 0


def test_one_reading_is_zero(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, 300_000)
    broken = next(i for i, s in enumerate(meter.samples) if s.measured_ms >= meter.happened_ms)
    samples = meter.samples.copy()
    samples[broken] = samples[broken]._replace(value=0.0)
    found = ledger(samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
    assert (flagged(found.hours), [n.kind for n in found.notices]) == (0, [NoticeKind.GLITCH])


def test_one_reading_is_doubted_by_the_gateway(mean_kw: float, period_min: int, facts: CounterFacts) -> None:
    meter = trace(mean_kw, period_min, 300_000)
    samples = meter.samples.copy()
    samples[7] = Sample(samples[7].measured_ms, 9e8, Quality.SUSPECT)
    found = ledger(samples, facts)
    total_is_right(meter, found.hours)
    no_measured_hour_is_wrong(meter, found.hours)
