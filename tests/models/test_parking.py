"""What is believed of a bay, observation by observation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.parking import AT_ONCE, Bay, BayState, Debounce, bay_of, counted

FREE, OCCUPIED, UNKNOWN, BROKEN = BayState
T = 1_790_000_000_000


def after(*observations: tuple[BayState, int], debounce: Debounce = AT_ONCE) -> Bay:
    """A bay that was observed so, each as soon as it was measured, at seconds after T."""
    bay = Bay()
    for state, second in observations:
        at_ms = T + 1000 * second
        bay = bay.observed(state, at_ms, at_ms, debounce=debounce)
    return bay


def test_a_bay_that_nobody_has_observed_is_unknown_and_not_free() -> None:
    assert (Bay().state, Bay().confidence) == (UNKNOWN, 0.0)


def test_the_first_observation_counts_at_once() -> None:
    bay = after((OCCUPIED, 5), debounce=Debounce(times=3, seconds=60))
    assert (bay.state, bay.since_ms, bay.confidence) == (OCCUPIED, T + 5000, 1.0)


def test_a_change_is_believed_after_so_many_observations_in_a_row_and_dates_from_the_first() -> None:
    twice = Debounce(times=2)
    assert after((FREE, 0), (OCCUPIED, 5), debounce=twice).state is FREE
    assert after((FREE, 0), (OCCUPIED, 5), (FREE, 10), (OCCUPIED, 15), debounce=twice).state is FREE
    bay = after((FREE, 0), (OCCUPIED, 5), (OCCUPIED, 10), debounce=twice)
    assert (bay.state, bay.since_ms) == (OCCUPIED, T + 5000)


def test_a_change_is_believed_after_it_has_lasted_so_long() -> None:
    minute = Debounce(seconds=60)
    assert after((FREE, 0), (OCCUPIED, 5), (OCCUPIED, 64), debounce=minute).state is FREE
    bay = after((FREE, 0), (OCCUPIED, 5), (OCCUPIED, 64), (OCCUPIED, 65), debounce=minute)
    assert (bay.state, bay.since_ms) == (OCCUPIED, T + 5000)


def test_the_same_state_again_keeps_its_beginning() -> None:
    assert after((FREE, 0), (FREE, 100), (FREE, 200)).since_ms == T


def test_what_was_measured_earlier_and_comes_later_changes_nothing() -> None:
    bay = after((OCCUPIED, 100))
    assert bay.observed(FREE, T + 99_999, T + 200_000) is bay
    assert bay.observed(FREE, T + 100_000, T + 200_000) is bay


def test_after_a_step_back_of_the_clock_observations_count_again() -> None:
    bay = after((OCCUPIED, 3600)).observed(FREE, T + 5, T + 5)
    assert (bay.state, bay.since_ms) == (FREE, T + 5)


def test_silence_makes_a_bay_unknown_and_the_next_word_known_again() -> None:
    lost = after((OCCUPIED, 0)).lost(T + 90_000)
    assert (lost.state, lost.since_ms, lost.confidence) == (UNKNOWN, T + 90_000, 0.0)
    assert lost.lost(T + 99_000) is lost
    again = lost.observed(FREE, T + 95_000, T + 95_000)
    assert (again.state, again.since_ms) == (FREE, T + 95_000)


def test_a_doubtful_value_has_half_the_confidence() -> None:
    assert Bay().observed(FREE, T, T, confidence=0.5).confidence == 0.5


@pytest.mark.parametrize(
    ("point", "bay"),
    [("occupied", ""), ("bay_01_occupied", "bay_01"), ("distance_mm", None), ("occupied_since", None)],
)
def test_a_point_tells_of_a_bay_by_its_name(point: str, bay: str | None) -> None:
    assert bay_of(point) == bay


OBSERVED = st.tuples(
    st.sampled_from([FREE, OCCUPIED, BROKEN, UNKNOWN]), st.integers(0, 10_000), st.integers(0, 10_000)
)


@given(st.lists(st.lists(OBSERVED, max_size=12), max_size=30), st.integers(1, 4), st.floats(0, 50))
def test_the_counts_of_a_zone_are_together_its_bays_whatever_happens_to_them(
    histories: list[list[tuple[BayState, int, int]]], times: int, seconds: float
) -> None:
    debounce = Debounce(times, seconds)
    bays = [Bay() for _ in histories]
    for round_ in range(12):
        for index, history in enumerate(histories):
            if round_ < len(history):
                state, measured_ms, delay_ms = history[round_]
                if state is UNKNOWN:
                    bays[index] = bays[index].lost(measured_ms)
                else:
                    bays[index] = bays[index].observed(
                        state, measured_ms, measured_ms + delay_ms, debounce=debounce
                    )
        counts = counted(bay.state for bay in bays)
        assert sum(counts.values()) == len(bays)
        assert set(counts) == set(BayState)


@given(st.lists(OBSERVED, max_size=40), st.integers(1, 4))
def test_no_state_is_invented(history: list[tuple[BayState, int, int]], times: int) -> None:
    """Whatever state a bay has was observed, at the very moment that it dates from."""
    bay = Bay()
    told: set[tuple[BayState, int]] = {(UNKNOWN, 0)}
    for state, measured_ms, delay_ms in history:
        if state is UNKNOWN:
            bay = bay.lost(measured_ms)
        else:
            bay = bay.observed(state, measured_ms, measured_ms + delay_ms, debounce=Debounce(times))
        told.add((state, measured_ms))
        assert (bay.state, bay.since_ms) in told
