"""The fast clock runs forward, without jumps, and finds its way back to real time."""

from hypothesis import given
from hypothesis import strategies as st

from demo.clock import FastClock, Leg, Pace

PACE = Pace(real_start_s=1000.0, start_ms=0, legs=(Leg(0, 3600.0), Leg(864_000, 60.0)))


def test_it_stands_still_before_its_beginning() -> None:
    assert FastClock(PACE).simulated_s(10.0) == 0.0


def test_each_leg_goes_at_its_own_speed() -> None:
    clock = FastClock(PACE)
    assert clock.simulated_s(1010.0) == 36_000
    assert clock.simulated_s(1240.0 + 10.0) == 864_000 + 600


@given(st.floats(0, 2_000_000), st.floats(0, 100_000))
def test_it_never_goes_back_and_real_time_is_its_inverse(simulated_s: float, more_s: float) -> None:
    clock = FastClock(PACE)
    real_s = clock.real_s(simulated_s)
    assert abs(clock.simulated_s(real_s) - simulated_s) < 1e-3
    assert clock.real_s(simulated_s + more_s) >= real_s


def test_a_pace_reaches_another_process_unchanged() -> None:
    assert Pace.decode(PACE.encode()) == PACE
