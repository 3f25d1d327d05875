"""A gateway from which nothing arrives is one alert, however many meters stand behind it."""

from collector.store import schema
from collector.store.engine import Store
from tests.support.building import Building, always
from tests.support.collector import StandingClock

CONDITION = "silent:gateway:gw-1"


async def test_a_silent_gateway_is_one_alert_and_ends_with_its_next_batch(building: Building) -> None:
    for number in range(5):
        await building.add_meter(always, name=f"{number}号楼")
    await building.live(1)
    await building.silence(44)  # its meters are read every 15 minutes
    assert await building.alerts() == []
    heard_ms = building.now_ms - 44 * 60_000
    await building.silence(2)
    await building.silence(10)
    assert await building.alerts() == [(CONDITION, "firing")]
    [alert] = await building.rows_of_alerts()
    assert (alert.opened_ms, alert.severity, alert.data["devices"]) == (heard_ms, "critical", 5)
    assert "5 台设备" in alert.data["title"]["zh"]
    await building.live(1)
    assert await building.alerts() == [(CONDITION, "resolved")]


async def test_how_long_it_may_be_silent_can_be_set(store: Store, standing: StandingClock) -> None:
    building = await Building.new(store, standing, detectors={"silent_gateway": {"after_minutes": 120}})
    await building.add_meter(always)
    await building.live(1)
    await building.silence(119)
    assert await building.alerts() == []
    await building.silence(2)
    assert await building.alerts() == [(CONDITION, "firing")]


async def test_a_collector_that_was_down_itself_waits_before_it_calls_a_gateway_silent(
    building: Building,
) -> None:
    await building.add_meter(always)
    await building.live(1)
    building.now_ms += 24 * 3_600_000
    building.standing.now_ms = building.now_ms
    building.restart()
    await building.work()
    await building.silence(44)
    assert await building.alerts() == []
    await building.silence(2)
    assert await building.alerts() == [(CONDITION, "firing")]


async def test_a_gateway_that_was_never_heard_since_it_was_enrolled_is_silent_too(building: Building) -> None:
    async with building.store.write() as connection:
        await connection.execute(schema.gateway.update().values(last_seen_ms=None))
    await building.silence(10)
    assert await building.alerts() == []
    await building.silence(6)
    assert await building.alerts() == [(CONDITION, "firing")]


async def test_a_gateway_that_was_revoked_is_silent_by_right(building: Building) -> None:
    await building.silence(20)
    assert await building.alerts() == [(CONDITION, "firing")]
    async with building.store.write() as connection:
        await connection.execute(schema.gateway.update().values(state="revoked", revoked_ms=building.now_ms))
    await building.silence(60)
    assert await building.alerts() == [(CONDITION, "resolved")]


async def test_restarts_neither_repeat_nor_end_the_alert(building: Building) -> None:
    await building.silence(20)
    for _ in range(5):
        building.restart()
        await building.silence(20)
    assert await building.alerts() == [(CONDITION, "firing")]


async def test_silence_can_be_ignored(store: Store, standing: StandingClock) -> None:
    building = await Building.new(store, standing, detectors={"silent_gateway": {"enabled": False}})
    await building.silence(10_000)
    assert await building.alerts() == []
