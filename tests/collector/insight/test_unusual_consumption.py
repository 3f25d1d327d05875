"""A counter that uses what its past does not let expect is told once, with what it costs."""

import asyncio

import pytest

from collector.insight.job import InsightJob
from collector.store import schema
from collector.store.engine import Store
from models.times import DAY_MS, HOUR_MS
from tests.support.building import MONDAY_MS, QUARTER_MS, Building, office
from tests.support.collector import StandingClock
from tests.support.meters import add_readings


def night_run(at_ms: int) -> float:
    """From the 30th day on the air conditioning runs from 20 to 6."""
    day, ms = divmod(at_ms - MONDAY_MS, DAY_MS)
    at_night = ms >= 20 * HOUR_MS or ms < 6 * HOUR_MS
    return office(at_ms) + (25.0 if day >= 29 and at_night else 0.0)


async def test_a_night_that_runs_through_is_one_alert_that_says_what_it_costs(building: Building) -> None:
    meter = await building.add_meter(night_run)
    other = await building.add_meter(office, name="2号楼")
    await building.history(29)
    assert await building.alerts() == []
    await building.live(24)
    assert await building.alerts() == [(f"consumption:device:{meter.device}", "firing")]
    [alert] = await building.rows(schema.alert)
    data = alert.data
    assert (data["device_id"], data["points"], data["unit"]) == ("meter-01", ["energy_0_kwh"], "kWh")
    assert data["expected"] == pytest.approx(4 * 12, rel=0.2)
    assert data["excess"] == pytest.approx(data["seen"] - data["expected"], abs=0.02)
    assert data["excess"] > 60
    assert data["kgce"] == pytest.approx(data["excess"] * 0.1229, abs=0.01)
    assert data["co2"] == pytest.approx(data["excess"] * 0.5306, abs=0.01)
    assert data["title"] == {"zh": "1号楼总表用量异常偏高", "en": "1号楼总表 uses more than usual"}
    assert "kgce" in data["text"]["zh"]
    assert MONDAY_MS + 29 * DAY_MS <= alert.opened_ms < MONDAY_MS + 29 * DAY_MS + 3 * HOUR_MS
    assert [row.state for row in await building.rows(schema.outbox)] == ["waiting"]
    subjects = {row.subject for row in await building.rows(schema.finding)}
    assert subjects == {f"point:{meter.counters[0].id}"}
    assert other.counters[0].id != meter.counters[0].id


async def test_a_fault_of_three_nights_is_one_alert_until_a_day_has_been_as_usual(
    building: Building,
) -> None:
    building.restarts = True  # each hour: nothing is lost and nothing is told twice
    meter = await building.add_meter(night_run)
    await building.history(29)
    await building.live(72)
    meter.load = office
    await building.live(22)
    [alert] = await building.rows(schema.alert)
    assert alert.state == "firing"
    await building.live(12)
    [alert] = await building.rows(schema.alert)
    assert (alert.state, alert.resolved_by) == ("resolved", "recovered")
    assert alert.opened_ms < alert.resolved_ms <= building.now_ms
    states = [row.message["state"] for row in await building.rows(schema.outbox)]
    assert states == ["firing", "resolved"]


async def test_the_counters_of_one_meter_are_one_alert_that_names_them(building: Building) -> None:
    await building.add_meter(night_run, counters=3)
    await building.history(29)
    await building.live(24)
    [alert] = await building.rows(schema.alert)
    assert alert.data["points"] == ["energy_0_kwh", "energy_1_kwh", "energy_2_kwh"]


async def test_what_arrives_late_is_found_but_calls_nobody(building: Building) -> None:
    await building.add_meter(night_run)
    await building.history(29)
    await building.history(2.6)  # until the afternoon of the third day
    assert await building.alerts() == []
    assert len(await building.rows(schema.finding)) >= 2


async def test_what_goes_on_after_an_outage_calls_somebody(building: Building) -> None:
    meter = await building.add_meter(night_run)
    await building.history(29)
    await building.lose(21)  # the evening has begun meanwhile
    await building.live(4)
    assert (f"consumption:device:{meter.device}", "firing") in await building.alerts()


async def test_what_arrives_late_does_not_end_an_alert(building: Building) -> None:
    meter = await building.add_meter(night_run)
    await building.history(29)
    await building.live(8)
    meter.load = office
    start_ms = building.now_ms
    for point, samples in building.readings(meter, start_ms, start_ms + 30 * HOUR_MS).items():
        await add_readings(building.store, point, samples)
    building.now_ms = start_ms + 60 * HOUR_MS
    building.standing.now_ms = building.now_ms
    await building.work()
    states = [state for condition, state in await building.alerts() if condition.startswith("consumption")]
    assert states == ["firing"]


async def test_one_odd_hour_calls_nobody_unless_it_is_far_too_much(building: Building) -> None:
    def busy(at_ms: int) -> float:
        hours = (at_ms - MONDAY_MS) // HOUR_MS
        return office(at_ms) + (5.0 if hours == 29 * 24 + 3 else 0.0)

    meter = await building.add_meter(busy)
    await building.history(29)
    await building.live(8)
    assert await building.alerts() == []
    meter.load = lambda _: 300.0
    await building.live(1)
    meter.load = office
    await building.live(1)
    assert [state for _, state in await building.alerts()] == ["firing"]


async def test_what_a_person_has_closed_stays_closed_for_a_day(building: Building) -> None:

    def for_good(at_ms: int) -> float:
        return office(at_ms) + (40.0 if at_ms >= MONDAY_MS + 29 * DAY_MS else 0.0)

    await building.add_meter(for_good)
    await building.history(29)
    await building.live(6)
    await building.close_alert(1)
    await building.live(20)
    assert [state for _, state in await building.alerts()] == ["resolved"]
    await building.live(6)
    assert [state for _, state in await building.alerts()] == ["resolved", "firing"]


async def test_several_jobs_at_once_open_one_alert(building: Building) -> None:
    await building.add_meter(night_run)
    await building.history(29)
    await building.live(2)
    building.standing.now_ms += 1
    jobs = [InsightJob(building.store, building.standing.clock, building.settings) for _ in range(8)]
    async with building.store.write() as connection:
        await connection.execute(schema.unscored.update().values(from_ms=0))
    await asyncio.gather(*(job.run_once() for job in jobs))
    await building.live(6)
    assert len(await building.alerts()) == 1


async def test_only_counters_with_a_new_hour_that_is_over_are_looked_at(building: Building) -> None:
    meter = await building.add_meter()
    await building.history(10)
    job = InsightJob(building.store, building.standing.clock, building.settings)
    assert await job.run_once() == 0
    part = building.readings(meter, building.now_ms, building.now_ms + QUARTER_MS)
    for point, samples in part.items():
        await add_readings(building.store, point, samples)
    building.now_ms += QUARTER_MS
    await building.work()
    [mark] = await building.rows(schema.unscored)
    assert mark.from_ms == building.now_ms - QUARTER_MS
    await building.live(1)
    assert await building.rows(schema.unscored) == []


async def test_a_detector_that_is_switched_off_finds_nothing(store: Store, standing: StandingClock) -> None:
    off = {"unusual_consumption": {"enabled": False}}
    building = await Building.new(store, standing, detectors=off)
    await building.add_meter(night_run)
    await building.history(29)
    await building.live(12)
    assert await building.alerts() == []
    assert await building.rows(schema.finding) == []


async def test_a_tariff_of_the_settings_gives_the_cost(store: Store, standing: StandingClock) -> None:
    tariff = {
        "quantity": "cost", "unit": "kWh", "item": "01", "per_unit": 0.8, "currency": "CNY",
        "source": "contract of 2026",
    }  # fmt: skip
    building = await Building.new(store, standing, factors=[tariff])
    await building.add_meter(night_run)
    await building.history(29)
    await building.live(8)
    [alert] = await building.rows(schema.alert)
    assert alert.data["cost"] == pytest.approx(alert.data["excess"] * 0.8, abs=0.01)
    assert alert.data["currency"] == "CNY"
    assert "contract of 2026" in alert.data["factors"]
    assert "CNY" in alert.data["text"]["en"]
