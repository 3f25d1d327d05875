"""The job keeps every hour as the one counter rule has it, whatever comes when."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from collector.energy.job import EnergyJob
from collector.store import schema
from collector.store.engine import Store
from models.energy import CounterFacts, Sample, consumption_by_hour
from models.reading import Quality
from models.times import HOUR_MS
from tests.support.collector import NOW_MS, StandingClock, add_site
from tests.support.meters import Point, add_device, add_point, add_readings

T0 = NOW_MS - NOW_MS % HOUR_MS - 72 * HOUR_MS
QUARTER_MS = HOUR_MS // 4
FACTS = CounterFacts(modulus=1_000.0, max_rate_per_h=40.0, decimals=2, period_s=900)


@pytest.fixture
async def counter(store: Store) -> Point:
    site_id = await add_site(store)
    device = await add_device(store, site_id)
    return await add_point(store, site_id, device, modulus=1_000.0, max_rate_per_h=40.0)


@pytest.fixture
def job(store: Store, standing: StandingClock) -> EnergyJob:
    return EnergyJob(store, standing.clock, chunk=7)


def quarters(first: int, last: int, start: float = 100.0, each: float = 2.5) -> list[Sample]:
    return [Sample(T0 + n * QUARTER_MS, start + n * each) for n in range(first, last)]


async def rows_of(store: Store, table: Any) -> list[Any]:
    async with store.read() as connection:
        return list((await connection.execute(select(table))).all())


async def hours_of(store: Store) -> dict[int, tuple[float | None, float, str]]:
    rows = await rows_of(store, schema.consumption_hour)
    return {(row.hour_ms - T0) // HOUR_MS: (row.value, row.coverage, row.state) for row in rows}


async def test_hours_are_computed_and_their_marks_are_cleared(
    store: Store, counter: Point, job: EnergyJob, standing: StandingClock
) -> None:
    await add_readings(store, counter, quarters(0, 10))
    assert await job.run_once() == 3
    assert await hours_of(store) == {
        0: (10, 1, "measured"),
        1: (10, 1, "measured"),
        2: (2.5, 0.25, "measured"),
    }
    assert await rows_of(store, schema.dirty_hour) == []
    assert await job.run_once() == 0
    [mark] = await rows_of(store, schema.unscored)
    assert (mark.point_id, mark.from_ms) == (counter.id, T0)


async def test_a_late_reading_changes_its_own_hours_and_no_others(
    store: Store, counter: Point, job: EnergyJob, standing: StandingClock
) -> None:
    everything = quarters(0, 200)
    late = everything.pop(120)
    await add_readings(store, counter, everything)
    await job.run_once()
    before = {row.hour_ms: row for row in await rows_of(store, schema.consumption_hour)}
    async with store.write() as connection:
        await connection.execute(delete(schema.unscored))
    standing.now_ms += 1_000
    await add_readings(store, counter, [late._replace(value=(late.value or 0) + 1)])
    assert await job.run_once() == 1
    after = {row.hour_ms: row for row in await rows_of(store, schema.consumption_hour)}
    changed = sorted((hour - T0) // HOUR_MS for hour in after if after[hour] != before[hour])
    assert changed == [29, 30]
    [mark] = await rows_of(store, schema.unscored)
    assert mark.from_ms == T0 + 29 * HOUR_MS


async def test_a_gap_that_is_filled_later_was_estimated_until_then(
    store: Store, counter: Point, job: EnergyJob
) -> None:
    everything = quarters(0, 41)
    await add_readings(store, counter, everything[:9] + everything[32:])
    await job.run_once()
    hours = await hours_of(store)
    assert [hours[n] for n in (3, 4)] == [(10, 0, "estimated")] * 2
    assert sum(value or 0 for value, _, _ in hours.values()) == pytest.approx(100, rel=1e-9)
    await add_readings(store, counter, everything[9:32])
    await job.run_once()
    hours = await hours_of(store)
    assert {state for _, _, state in list(hours.values())[:10]} == {"measured"}
    assert sum(value or 0 for value, _, _ in hours.values()) == pytest.approx(100, rel=1e-9)


async def test_readings_that_come_while_the_job_works_are_not_forgotten(
    store: Store, counter: Point, job: EnergyJob
) -> None:
    async def arrive() -> None:
        for sample in quarters(0, 61):
            await add_readings(store, counter, [sample])

    arriving = asyncio.create_task(arrive())
    while not arriving.done():
        await job.run_once()
    await arriving
    await job.run_once()
    hours = await hours_of(store)
    assert {hours[n] for n in range(15)} == {(10, 1, "measured")}
    assert await rows_of(store, schema.dirty_hour) == []


async def test_hours_without_a_good_reading_are_missing_and_not_zero(
    store: Store, counter: Point, job: EnergyJob
) -> None:
    dead = [Sample(T0 + n * QUARTER_MS, None, Quality.BAD) for n in range(8)]
    await add_readings(store, counter, dead)
    await job.run_once()
    assert await hours_of(store) == {0: (None, 0, "missing"), 1: (None, 0, "missing")}


async def test_a_fall_is_put_on_record_and_taken_back_when_it_was_none(
    store: Store, counter: Point, job: EnergyJob
) -> None:
    first, second = quarters(0, 8), quarters(8, 16)
    zeros = [Sample(T0 + n * QUARTER_MS + 60_000, 0.0) for n in range(8, 12)]
    await add_readings(store, counter, first + zeros)
    await job.run_once()
    [finding] = await rows_of(store, schema.finding)
    assert (finding.detector, finding.subject) == ("counter", f"point:{counter.id}")
    assert finding.data["kind"] == "reset"
    assert "117.50 kWh" in finding.data["text"]["zh"]
    await add_readings(store, counter, second)
    await job.run_once()
    kinds = {row.data["kind"] for row in await rows_of(store, schema.finding)}
    assert kinds == {"glitch"}


async def test_points_that_are_no_counters_lose_their_marks_and_get_no_hours(
    store: Store, counter: Point, job: EnergyJob
) -> None:
    gauge = await add_point(store, counter.site_id, counter.device, "voltage_v", kind="gauge", unit="V")
    await add_readings(store, gauge, quarters(0, 9))
    await job.run_once()
    assert await rows_of(store, schema.dirty_hour) == []
    assert await rows_of(store, schema.consumption_hour) == []


async def test_readings_that_come_before_their_description_wait_for_it(store: Store, job: EnergyJob) -> None:
    site_id = await add_site(store)
    device = await add_device(store, site_id)
    point = await add_point(store, site_id, device, kind="gauge", unit="")
    async with store.write() as connection:
        await connection.execute(schema.device.update().values(profile=""))
    await add_readings(store, point, quarters(0, 9))
    await job.run_once()
    assert len(await rows_of(store, schema.dirty_hour)) == 3
    async with store.write() as connection:
        await connection.execute(schema.device.update().values(profile="test"))
        await connection.execute(schema.point.update().values(kind="counter", unit="kWh"))
    await job.run_once()
    assert (await hours_of(store))[0] == (10, 1, "measured")


async def test_two_jobs_at_once_come_to_the_same_hours(
    store: Store, counter: Point, standing: StandingClock
) -> None:
    await add_readings(store, counter, quarters(0, 100))
    jobs = [EnergyJob(store, standing.clock, chunk=3) for _ in range(4)]
    await asyncio.gather(*(job.run_once() for job in jobs))
    assert await rows_of(store, schema.dirty_hour) == []
    hours = await hours_of(store)
    assert all(hours[n] == (10, 1, "measured") for n in range(24))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 6))
async def test_whatever_order_readings_come_in_the_hours_are_those_of_the_whole_history(
    store: Store, standing: StandingClock, seed: int, parts: int
) -> None:
    random = Random(seed)
    site_id = await add_site(store, f"s{seed}-{parts}-{random.random()}")
    counter = await add_point(
        store, site_id, await add_device(store, site_id), modulus=1_000.0, max_rate_per_h=40.0
    )
    value, ms, samples = random.choice([0.0, 500.0, 980.0]), T0, []
    for _ in range(150):
        ms += random.choice([QUARTER_MS] * 8 + [60_000, 3 * QUARTER_MS, 6 * HOUR_MS])
        value += random.choice([2.0] * 8 + [0.0, 30.0, -value])
        shown = random.choice([value % 1_000.0] * 12 + [0.0, 999.0])
        samples.append(Sample(ms, shown, random.choice([Quality.GOOD] * 15 + [Quality.SUSPECT])))
    shuffled = random.sample(samples, len(samples))
    job = EnergyJob(store, standing.clock, chunk=random.choice([1, 5, 200]))
    for part in range(parts):
        await add_readings(store, counter, shuffled[part::parts])
        await job.run_once()
    rows = [row for row in await rows_of(store, schema.consumption_hour) if row.site_id == site_id]
    end_ms = max(row.hour_ms for row in rows) + HOUR_MS
    whole = consumption_by_hour(samples, FACTS, start_ms=T0, end_ms=end_ms)
    by_hour = {hour.hour_ms: (hour.value, hour.coverage, hour.state.value) for hour in whole.hours}
    assert {row.hour_ms: (row.value, row.coverage, row.state) for row in rows} == {
        row.hour_ms: by_hour[row.hour_ms] for row in rows
    }
    known = {hour.hour_ms for hour in whole.hours if hour.value is not None}
    assert known <= {row.hour_ms for row in rows}
    told = [row for row in await rows_of(store, schema.finding) if row.site_id == site_id]
    assert sorted((row.start_ms, row.end_ms, row.data["kind"]) for row in told) == [
        (notice.start_ms, notice.end_ms, notice.kind.value) for notice in whole.notices
    ]
