"""Bays as readings tell of them: each change once, also over restarts, and zones that always add up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bays import BAY_CHANGED, Bays, Watched
from edge_agent.buffer.contract import Outbox
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.sink import BufferSink
from models.parking import BayState, Debounce, counted
from models.reading import Event, Item, Quality, Reading, Reason
from tests.support.clocks import START_MS, VirtualClock
from tests.support.items import Sealer, drain
from tests.support.parking_sink import ParkingSink

FREE, OCCUPIED, UNKNOWN, BROKEN = BayState
LIMIT_S = 120.0


def watched(device: str, point: str = "occupied", **settings: Any) -> Watched:
    given: dict[str, Any] = {"source": "bosch-parking-lot-sensor", "limit_s": LIMIT_S, "zone": "zone-1"}
    return Watched(device_id=device, point=point, **(given | settings))


def reading(
    clock: VirtualClock,
    value: float | None,
    *,
    device: str = "bay-1",
    point: str = "occupied",
    reason: Reason = Reason.NO_REPLY,
    age_ms: int = 0,
) -> Reading:
    now_ms = clock.now_ms()
    return Reading(
        device_id=device,
        point=point,
        value=value,
        quality=Quality.BAD if value is None else Quality.GOOD,
        reason=reason if value is None else Reason.NONE,
        measured_ms=now_ms - age_ms,
        received_ms=now_ms,
    )


def changes(sink: ParkingSink) -> list[dict[str, Any]]:
    return [event.data for event in sink.events]


def states(sink: ParkingSink) -> list[str]:
    return [data["state"] for data in changes(sink)]


@pytest.fixture
def sink() -> ParkingSink:
    return ParkingSink()


async def test_a_change_is_an_event_with_state_since_source_battery_and_zone(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0, age_ms=5000), reading(clock, 88.0, point="battery_pct")])
    [event] = sink.events
    assert (event.device_id, event.kind) == ("bay-1", BAY_CHANGED)
    assert (event.measured_ms, event.received_ms) == (START_MS - 5000, START_MS)
    assert event.data == {
        "bay": "bay-1",
        "state": "occupied",
        "was": "unknown",
        "since_ms": START_MS - 5000,
        "confidence": 1.0,
        "source": "bosch-parking-lot-sensor",
        "battery_pct": 88.0,
        "zone": "zone-1",
    }


async def test_the_same_again_is_no_event_and_all_readings_go_through(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    for _ in range(3):
        await clock.advance(60)
        await bays.put([reading(clock, 0.0), reading(clock, 20.0, point="temperature_c")])
    assert states(sink) == ["free"]
    assert sink.told("bay-1") == [0.0] * 3
    assert sink.told("bay-1", "temperature_c") == [20.0] * 3


async def test_one_missed_word_changes_nothing_and_two_periods_of_silence_make_a_bay_unknown(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 0.0)])
    await clock.advance(60)
    await bays.put([reading(clock, None)])
    assert states(sink) == ["free"]
    await clock.advance(60)
    await bays.put([reading(clock, None)])
    assert states(sink) == ["free", "unknown"]
    assert changes(sink)[1]["since_ms"] == clock.now_ms()
    await bays.put([reading(clock, None)])
    assert len(sink.events) == 2


async def test_a_sensor_that_cannot_tell_puts_its_bay_out_of_service(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0)])
    await clock.advance(5)
    await bays.put([reading(clock, None, reason=Reason.NOT_AVAILABLE)])
    await clock.advance(5)
    await bays.put([reading(clock, 0.0)])
    assert states(sink) == ["occupied", "out_of_service", "free"]


async def test_history_is_stored_and_changes_nothing(clock: VirtualClock, sink: ParkingSink) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0, age_ms=1000)])
    await clock.advance(1)
    await bays.put([reading(clock, 0.0, age_ms=60_000)])
    assert states(sink) == ["occupied"]
    assert sink.told("bay-1") == [1.0, 0.0]


async def test_a_word_that_was_long_under_way_does_not_make_its_bay_known_for_longer(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0, age_ms=100_000)])
    assert await bays.states_of("zone-1") == [OCCUPIED]
    await clock.advance(20)
    assert await bays.states_of("zone-1") == [UNKNOWN]


async def test_a_clock_that_jumps_makes_no_bay_unknown_and_blinds_none(sink: ParkingSink) -> None:
    clock = VirtualClock(0)  # 1970, before the first synchronisation
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0)])
    clock._start_ms = START_MS
    assert await bays.states_of("zone-1") == [OCCUPIED]
    await bays.put([reading(clock, 1.0)])
    clock._start_ms = START_MS - 3_600_000
    await clock.advance(30)
    await bays.put([reading(clock, 0.0)])
    assert states(sink) == ["occupied", "free"]


async def test_a_polled_bay_changes_after_two_readings_in_a_row(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bay = watched("ctl", "bay_01_occupied", debounce=Debounce(times=2))
    bays = Bays(sink, [bay], clock.clock)
    for value in (0.0, 1.0, 0.0, 1.0, 1.0):
        await clock.advance(5)
        await bays.put([reading(clock, value, device="ctl", point="bay_01_occupied")])
    assert states(sink) == ["free", "occupied"]
    assert changes(sink)[1]["bay"] == "bay_01"
    assert changes(sink)[1]["since_ms"] == clock.now_ms() - 5000


async def test_a_restart_goes_on_from_the_state_and_its_beginning(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    await Bays(sink, [watched("bay-1")], clock.clock).put([reading(clock, 1.0)])
    began_ms = clock.now_ms()
    await clock.advance(60)
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    assert await bays.states_of("zone-1") == [OCCUPIED]
    await bays.put([reading(clock, 1.0)])
    await bays.put([reading(clock, 40.0, point="battery_pct")])
    assert states(sink) == ["occupied"]
    await clock.advance(1)
    await bays.put([reading(clock, 0.0)])
    assert changes(sink)[1]["was"] == "occupied"
    assert changes(sink)[0]["since_ms"] == began_ms


async def test_a_bay_that_was_silent_while_the_gateway_was_away_is_unknown(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    await Bays(sink, [watched("bay-1")], clock.clock).put([reading(clock, 0.0)])
    await clock.advance(LIMIT_S)
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    assert await bays.states_of("zone-1") == [UNKNOWN]
    await bays.put([reading(clock, None)])
    assert states(sink) == ["free", "unknown"]


async def test_what_could_not_be_stored_is_told_when_it_comes_again(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    sink.refuse = RuntimeError("no")
    with pytest.raises(RuntimeError):
        await bays.put([reading(clock, 1.0)])
    sink.refuse = None
    assert await bays.states_of("zone-1") == [UNKNOWN]
    await bays.put([reading(clock, 1.0)])
    assert states(sink) == ["occupied"]


async def test_marks_that_nobody_can_read_make_bays_unknown(clock: VirtualClock, sink: ParkingSink) -> None:
    sink.stored["parking/bay-1/bays"] = '{"bays": 7}'
    bays = Bays(sink, [watched("bay-1")], clock.clock)
    assert await bays.states_of("zone-1") == [UNKNOWN]


async def test_the_time_of_the_last_word_alone_is_not_written_down_at_every_poll(
    clock: VirtualClock, sink: ParkingSink
) -> None:
    bays = Bays(sink, [watched("bay-1", limit_s=10)], clock.clock)
    written = []
    for _ in range(25):
        await clock.advance(5)
        sink.stored.clear()
        await bays.put([reading(clock, 1.0)])
        written.append(bool(sink.stored))
    assert written.count(True) == 3


async def test_change_reading_and_memory_are_in_the_buffer_together(
    clock: VirtualClock, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer
) -> None:
    bays = Bays(BufferSink(buffer, clock.clock), [watched("bay-1")], clock.clock)
    await bays.put([reading(clock, 1.0)], {"parking/bay-1/fcnt": "7"})
    assert set(await buffer.marks("parking/")) == {"parking/bay-1/fcnt", "parking/bay-1/bays"}
    items: list[Item] = await drain(outbox, sealer)
    assert [type(item) for item in items] == [Reading, Event]


STEP = st.tuples(
    st.integers(0, 5),  # which bay
    st.sampled_from([1.0, 0.0, None, "broken"]),
    st.integers(0, 200_000),  # how old
    st.floats(0, 100),  # seconds until then
)


@given(st.lists(STEP, max_size=40), st.integers(1, 3))
async def test_the_counts_of_a_zone_are_its_bays_after_any_sequence(
    steps: list[tuple[int, Any, int, float]], times: int
) -> None:
    clock, sink = VirtualClock(), ParkingSink()
    all_bays = [watched(f"bay-{n}", debounce=Debounce(times)) for n in range(6)]
    bays = Bays(sink, all_bays, clock.clock)
    last = dict.fromkeys((f"bay-{n}" for n in range(6)), "unknown")
    for bay, value, age_ms, wait_s in steps:
        await clock.advance(wait_s)
        is_broken = value == "broken"
        reason = Reason.NOT_AVAILABLE if is_broken else Reason.NO_REPLY
        item = reading(clock, None if is_broken else value, device=f"bay-{bay}", reason=reason, age_ms=age_ms)
        await bays.put([item])
        counts = counted(await bays.states_of("zone-1"))
        assert sum(counts.values()) == 6
    for event in sink.events:  # each change begins where the one before it ended
        assert event.data["was"] == last[event.device_id] != event.data["state"]
        last[event.device_id] = event.data["state"]
