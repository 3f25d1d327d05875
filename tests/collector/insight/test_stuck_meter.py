"""A meter that answers but shows old values is told once, as stuck, and not as anything else as well."""

import pytest

from models.times import DAY_MS, HOUR_MS
from tests.support.building import MONDAY_MS, Building, always, office


async def test_a_counter_that_stops_while_its_load_goes_on_is_one_alert(building: Building) -> None:
    meter = await building.add_meter(always, gauges=True)
    await building.history(10.3)  # it stops in the middle of an hour
    meter.counts = False
    await building.live(5)
    assert await building.alerts() == []
    await building.live(6)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "firing")]
    meter.counts = True  # and has counted what it did not show
    await building.live(30)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "resolved")]


async def test_why_a_counter_is_thought_to_be_stuck_is_said(building: Building) -> None:
    meter = await building.add_meter(always)
    await building.history(10)
    meter.counts = False
    await building.live(8)
    [alert] = await building.rows_of_alerts()
    assert alert.opened_ms == MONDAY_MS + 10 * DAY_MS
    assert (alert.data["hours"], alert.data["longest_before"]) == (8, 0)
    assert alert.data["points"] == ["energy_0_kwh"]
    assert alert.data["expected"] == pytest.approx(8 * 30, rel=0.05)
    assert "最长停 0 小时" in alert.data["text"]["zh"]
    assert "shown the same value" in alert.data["text"]["en"]


async def test_a_meter_that_rests_on_weekends_is_not_stuck_on_a_weekend(building: Building) -> None:
    def workdays(at_ms: int) -> float:
        return office(at_ms) - 12.0

    await building.add_meter(workdays)
    await building.history(11)  # until a Friday
    await building.live(72)
    assert await building.alerts() == []


async def test_a_load_that_is_off_is_less_consumption_and_no_stuck_meter(building: Building) -> None:
    meter = await building.add_meter(always, gauges=True)
    await building.history(22)
    meter.load = lambda _: 0.0
    await building.live(12)
    assert await building.alerts() == [(f"consumption:device:{meter.device}", "firing")]
    [alert] = await building.rows_of_alerts()
    assert alert.data["excess"] < 0


async def test_a_device_all_of_whose_values_are_old_is_stuck(building: Building) -> None:
    meter = await building.add_meter(always, counters=0, gauges=True)
    await building.history(9)
    meter.answers_anew = False
    await building.live(5)
    assert await building.alerts() == []
    await building.live(3)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "firing")]
    [alert] = await building.rows_of_alerts()
    assert alert.data["points"] == ["power_kw", "voltage_v"]
    assert alert.opened_ms == MONDAY_MS + 9 * DAY_MS
    meter.answers_anew = True
    await building.live(2)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "resolved")]


async def test_values_that_never_change_are_no_old_values(building: Building) -> None:
    meter = await building.add_meter(always, counters=0, gauges=True)
    meter.answers_anew, meter.last = False, (50.0, 230.0)
    await building.history(9)
    await building.live(12)
    assert await building.alerts() == []


async def test_a_meter_with_counter_and_gauges_that_freezes_whole_is_one_alert(building: Building) -> None:
    building.restarts = True
    meter = await building.add_meter(always, gauges=True)
    await building.history(10.3)
    meter.counts = meter.answers_anew = False
    await building.live(14)
    meter.counts = meter.answers_anew = True
    await building.live(30)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "resolved")]


async def test_a_person_who_closes_it_is_left_in_peace_for_a_day(
    building: Building,
) -> None:
    meter = await building.add_meter(always)
    await building.history(10)
    meter.counts = False
    await building.live(8)
    await building.close_alert(1)
    await building.live(20)
    assert [state for _, state in await building.alerts()] == ["resolved"]
    await building.live(6)
    assert [state for _, state in await building.alerts()] == ["resolved", "firing"]


async def test_a_counter_that_mostly_stands_is_never_stuck(building: Building) -> None:
    def pump(at_ms: int) -> float:
        return 20.0 if at_ms % DAY_MS < 4 * HOUR_MS else 0.0

    meter = await building.add_meter(pump)
    await building.history(12)
    meter.load = lambda _: 0.0
    await building.live(30)
    assert [condition for condition, _ in await building.alerts() if condition.startswith("stuck")] == []
