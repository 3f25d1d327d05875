"""The fast clock runs forward, without jumps, and finds its way back to real time."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from demo.clock import FastClock, Leg, Pace

PACE = Pace(start_file="/nowhere", start_ms=0, legs=(Leg(0, 3600.0), Leg(864_000, 60.0)))


def test_it_stands_still_until_its_beginning() -> None:
    assert FastClock(PACE).elapsed_s() == 0.0
    assert FastClock(PACE).simulated_s(-5.0) == 0.0


def test_it_runs_in_every_process_once_it_has_begun(tmp_path: Path) -> None:
    pace = Pace(start_file=str(tmp_path / "start"), start_ms=1000, legs=(Leg(0, 3600.0),))
    clocks = [FastClock(pace), FastClock(Pace.decode(pace.encode()))]
    assert [clock.clock().now_ms() for clock in clocks] == [1000, 1000]
    pace.begin()
    first, second, third = (clock.elapsed_s() for clock in (*clocks, clocks[0]))
    assert 0 < first <= second <= third


def test_each_leg_goes_at_its_own_speed() -> None:
    clock = FastClock(PACE)
    assert clock.simulated_s(10.0) == 36_000
    assert clock.simulated_s(240.0 + 10.0) == 864_000 + 600


@given(st.floats(0, 2_000_000), st.floats(0, 100_000))
def test_it_never_goes_back_and_real_time_is_its_inverse(simulated_s: float, more_s: float) -> None:
    clock = FastClock(PACE)
    real_s = clock.real_s(simulated_s)
    assert abs(clock.simulated_s(real_s) - simulated_s) < 1e-3
    assert clock.real_s(simulated_s + more_s) >= real_s
