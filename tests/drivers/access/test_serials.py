"""Each event of a log is taken once, in whatever order, however often and in however many lives it comes."""

from hypothesis import given
from hypothesis import strategies as st

from drivers.access.serials import LogPosition, Look, same

DAY_MS = 86_400_000


def printed(serial: int) -> tuple[int, int, int, int]:
    return (1_790_000_000_000 + 7_777 * serial, 480, 5, serial % 30)


def took(position: LogPosition, serial: int) -> bool:
    """Take an event if it is new."""
    if position.look(serial, printed(serial)) is not Look.NEW:
        return False
    position.take(serial, printed(serial))
    return True


@given(st.lists(st.integers(1, 60), max_size=200), st.lists(st.booleans(), min_size=200, max_size=200))
def test_every_event_is_taken_once_and_what_is_missing_is_known(
    arrivals: list[int], dies: list[bool]
) -> None:
    position, taken = LogPosition(), []
    for serial, is_killed in zip(arrivals, dies, strict=False):
        if took(position, serial):
            taken.append(serial)
        if is_killed:
            position = LogPosition.from_text(position.text())
    assert sorted(taken) == sorted(set(arrivals))
    missing = {n for first, last in position.holes for n in range(first, last + 1)}
    assert missing == set(range(1, max(arrivals, default=0))) - set(arrivals)
    assert position.highest == max(arrivals, default=0)


@given(st.sets(st.integers(1, 40), min_size=1))
def test_what_is_given_up_is_missing_no_more(arrivals: set[int]) -> None:
    position = LogPosition()
    for serial in sorted(arrivals, reverse=True):
        assert took(position, serial)
    for first, last in position.holes:
        position.give_up(first, last)
    assert (position.holes, position.above, position.upto) == ([], [], max(arrivals))
    assert not took(position, 1)


def test_the_same_number_with_another_event_is_suspicious() -> None:
    position = LogPosition()
    for serial in range(1, 10):
        took(position, serial)
    at_ms, offset_min, major, minor = printed(5)
    assert position.look(5, (at_ms, offset_min, major, minor)) is Look.KNOWN
    assert position.look(5, (at_ms, offset_min, major, minor + 1)) is Look.OTHER
    assert position.look(5, (at_ms + 3 * DAY_MS, offset_min, major, minor)) is Look.OTHER


def test_an_old_number_with_a_time_after_the_newest_is_suspicious_after_a_restart_too() -> None:
    position = LogPosition()
    for serial in range(1, 500):
        took(position, serial)
    position.drop_anchor()
    position = LogPosition.from_text(position.text())
    assert position.look(3, printed(3)) is Look.KNOWN
    assert position.look(3, (printed(499)[0] + 60_000, 480, 5, 1)) is Look.OTHER


def test_an_event_that_the_log_shows_a_little_later_or_in_another_zone_is_the_same() -> None:
    at_ms = printed(1)[0]
    assert same((at_ms, 480, 5, 1), (at_ms + 2_000, 480, 5, 1))
    assert same((at_ms, 480, 5, 1), (at_ms, 0, 5, 1))  # at the same moment, in another zone
    assert same((at_ms, 480, 5, 1), (at_ms + 8 * 3_600_000, 0, 5, 1))  # at the same time of the day
    assert not same((at_ms, 480, 5, 1), (at_ms + 900_000, 480, 5, 1))
    assert not same((at_ms, 480, 5, 1), (at_ms, 480, 5, 2))


def test_after_a_reset_of_the_controller_all_numbers_are_new() -> None:
    position = LogPosition()
    for serial in range(1, 9):
        took(position, serial)
    position.begin_again()
    assert (position.numbering, position.upto) == (1, 0)
    assert took(LogPosition.from_text(position.text()), 1)


def test_a_mark_that_is_damaged_means_that_the_log_is_read_from_the_start() -> None:
    assert LogPosition.from_text("{broken").upto == 0
    assert LogPosition.from_text("").upto == 0


def test_so_many_holes_that_somebody_must_make_them_are_not_all_kept() -> None:
    position = LogPosition()
    for serial in range(2, 1000, 2):
        took(position, serial)
    assert position.is_crowded


def test_what_is_remembered_of_a_long_log_is_short() -> None:
    position = LogPosition()
    for serial in range(1, 20_000):
        took(position, serial)
    assert len(position._prints) <= 600
    assert len(position.text()) < 100
