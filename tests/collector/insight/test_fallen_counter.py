"""A counter that falls leaves a hole in the consumption; a person is called to it, once."""

from collector.store import schema
from tests.support.building import Building, always


async def test_another_meter_in_its_place_calls_a_person_once(building: Building) -> None:
    meter = await building.add_meter(always)
    await building.history(10)
    meter.total = 0.0
    await building.live(12)
    assert await building.alerts() == [(f"counter:device:{meter.device}", "firing")]
    [alert] = await building.rows_of_alerts()
    assert (alert.data["kind"], alert.data["device_id"]) == ("reset", "meter-01")
    assert alert.data["before"] > 8000 > 8 > alert.data["after"]
    await building.close_alert(1)
    await building.live(30)
    assert [state for _, state in await building.alerts()] == ["resolved"]


async def test_a_fall_that_is_learned_of_days_later_is_a_finding_only(building: Building) -> None:
    meter = await building.add_meter(always)
    await building.history(10)
    meter.total = 0.0
    await building.history(3)
    assert await building.alerts() == []
    [finding] = await building.rows(schema.finding)
    assert finding.data["kind"] == "reset"


async def test_what_a_stuck_meter_does_when_it_wakes_up_is_the_same_story(building: Building) -> None:
    meter = await building.add_meter(always, gauges=True)
    await building.history(10)
    meter.counts = False
    await building.live(9)
    meter.counts, meter.total = True, 3.0
    await building.live(12)
    assert await building.alerts() == [(f"stuck:device:{meter.device}", "resolved")]
