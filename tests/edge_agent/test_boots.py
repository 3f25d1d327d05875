"""Times that count from the start of the machine become real ones, also after losses of power."""

import pytest

from edge_agent.boots import BOOT_MS, BOOTS, PREFIX, Boots, is_provisional
from models.reading import GATEWAY, Event, Quality, Reading, Reason

STARTED_MS = 1_790_000_000_000  # when the machine of a test started last


def reading(ms: int, value: float | None = 1.0) -> Reading:
    quality = Quality.BAD if value is None else Quality.GOOD
    reason = Reason.NO_REPLY if value is None else Reason.NONE
    return Reading(
        device_id="m-1", point="power_kw", value=value, quality=quality, reason=reason, measured_ms=ms,
        received_ms=ms + 5,
    )  # fmt: skip


def test_the_times_of_this_boot_are_exact_once_its_offset_is_known() -> None:
    boots = Boots({}, "a")
    stamp = boots.current.provisional_ms(61_000)
    assert is_provisional(stamp)
    assert boots.settled([reading(stamp)]) is None
    boots.with_time(STARTED_MS)
    assert boots.settled([reading(stamp), reading(STARTED_MS)]) == [
        reading(STARTED_MS + 61_000),
        reading(STARTED_MS),
    ]


def test_real_times_are_left_alone() -> None:
    items = [reading(STARTED_MS), reading(0), reading(4_000_000_000_000)]
    assert Boots({}, "a").settled(items) is items


def test_another_process_of_the_same_boot_goes_on_with_it() -> None:
    first = Boots({}, "a")
    stamp = first.current.provisional_ms(1000)
    second = Boots(first.still_up(2000), "a")
    assert second.current.number == first.current.number
    third = Boots(second.with_time(STARTED_MS), "a")
    assert third.current.offset_ms == STARTED_MS
    assert third.settled_ms(stamp) == STARTED_MS + 1000


def test_a_boot_whose_time_was_learned_stays_exact_after_it() -> None:
    first = Boots({}, "a")
    stamp = first.current.provisional_ms(1000)
    second = Boots(first.with_time(STARTED_MS - 5_000_000), "b")
    assert second.current.number != first.current.number
    assert second.settled([reading(stamp)]) == [reading(STARTED_MS - 4_999_000)]


def test_a_boot_that_ended_before_anybody_told_it_the_time_is_estimated_and_says_so() -> None:
    first = Boots({}, "a")
    stamps = [first.current.provisional_ms(ms) for ms in (60_000, 120_000)]
    second = Boots(first.still_up(120_000), "b")
    assert second.settled([reading(stamps[0])]) is None
    second.with_time(STARTED_MS)
    settled = second.settled([*(reading(stamp) for stamp in stamps), reading(stamps[1], None)])
    assert settled is not None
    assert [item.measured_ms for item in settled if item is not None] == [
        STARTED_MS - 60_000,
        STARTED_MS,
        STARTED_MS,
    ]
    assert [(item.quality, item.reason) for item in settled if isinstance(item, Reading)] == [
        (Quality.SUSPECT, Reason.CLOCK_UNSET),
        (Quality.SUSPECT, Reason.CLOCK_UNSET),
        (Quality.BAD, Reason.NO_REPLY),
    ]


def test_several_boots_in_a_row_without_the_time_keep_their_order() -> None:
    marks: dict[str, str] = {}
    stamps = []
    for boot_id in "abc":
        boots = Boots(marks, boot_id)
        stamps += [boots.current.provisional_ms(ms) for ms in (1000, 9000)]
        marks |= boots.still_up(10_000)
    boots.with_time(STARTED_MS)
    times = [boots.settled_ms(stamp) for stamp in stamps]
    assert None not in times
    assert times == sorted(times, key=lambda ms: ms or 0)
    assert times[-2:] == [STARTED_MS + 1000, STARTED_MS + 9000]


def test_what_a_gap_tells_of_its_times_is_settled_too() -> None:
    boots = Boots({}, "a")
    stamp = boots.current.provisional_ms(1000)
    facts = {"from_ms": stamp, "to_ms": stamp + 500, "readings": BOOT_MS, "reason": "evicted"}
    event = Event(device_id=GATEWAY, kind="buffer.gap", data=facts, measured_ms=stamp, received_ms=stamp)
    boots.with_time(STARTED_MS)
    [told] = boots.settled([event]) or []
    assert isinstance(told, Event)
    assert told.data == facts | {"from_ms": STARTED_MS + 1000, "to_ms": STARTED_MS + 1500}


def test_a_device_with_a_clock_of_its_own_keeps_its_time() -> None:
    boots = Boots({}, "a")
    stamp = boots.current.provisional_ms(1000)
    event = Event(device_id="d", kind="door.granted", data={}, measured_ms=STARTED_MS, received_ms=stamp)
    boots.with_time(STARTED_MS)
    [told] = boots.settled([event]) or []
    assert told is not None
    assert (told.measured_ms, told.received_ms) == (STARTED_MS, STARTED_MS + 1000)


@pytest.mark.parametrize("marks", [{}, {PREFIX + "1": "not json"}, {PREFIX + "1": '{"number": 2}'}])
def test_what_was_stored_under_a_forgotten_boot_can_still_be_delivered(marks: dict[str, str]) -> None:
    boots = Boots(marks, "b")
    stamp = 7 * BOOT_MS + 3000
    assert boots.settled([reading(stamp)]) is None
    boots.with_time(STARTED_MS)
    [told] = boots.settled([reading(stamp)]) or []
    assert isinstance(told, Reading)
    assert (told.measured_ms, told.reason) == (STARTED_MS, Reason.CLOCK_UNSET)


def test_numbers_are_used_again_and_a_machine_that_tells_no_boot_gets_one_for_each_start() -> None:
    marks: dict[str, str] = {}
    numbers = []
    for _ in range(BOOTS + 2):
        boots = Boots(marks, "")
        numbers.append(boots.current.number)
        marks |= boots.with_time(STARTED_MS)
    assert numbers == [*range(1, BOOTS + 1), 1, 2]
    assert len(marks) == BOOTS


def test_a_machine_that_runs_for_years_without_the_time_does_not_run_into_the_next_boot() -> None:
    boots = Boots({}, "a")
    assert boots.current.provisional_ms(3 * BOOT_MS) // BOOT_MS == boots.current.number
