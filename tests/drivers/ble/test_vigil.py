"""A silent radio is woken, and not stormed at."""

from itertools import pairwise

from drivers.ble.vigil import LONGEST_PAUSE_S, SILENCE_S, Step, Vigil


def steps(vigil: Vigil, until_s: float) -> list[tuple[float, Step]]:
    """What is done about a radio that never says anything again, and when."""
    now_s, done = 0.0, []
    vigil.started(now_s)
    while (now_s := vigil.due_s) <= until_s:
        step = vigil.step(now_s)
        assert step is not None
        done.append((now_s, step))
        vigil.started(now_s)
    return done


def test_the_scanner_is_rebuilt_after_90_s_and_the_adapter_reset_after_another_90_s() -> None:
    assert steps(Vigil(10), 200) == [(90, Step.REBUILD), (180, Step.RESET)]


def test_pauses_double_up_to_an_hour() -> None:
    times = [at for at, _ in steps(Vigil(10), 24 * 3600)]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:7] == [90, 180, 360, 720, 1440, 2880, 3600]
    assert set(pauses[6:]) == {LONGEST_PAUSE_S}
    assert len(times) < 32


def test_what_is_heard_begins_the_silence_anew() -> None:
    vigil = Vigil(10)
    steps(vigil, 2000)
    vigil.heard(3000)
    assert vigil.step(3000 + SILENCE_S - 1) is None
    assert vigil.step(3000 + SILENCE_S) is Step.REBUILD


def test_silence_is_nothing_while_no_device_is_expected() -> None:
    vigil = Vigil(600)
    vigil.started(0)
    assert vigil.step(599) is None
    assert vigil.step(600) is Step.REBUILD


def test_devices_that_speak_once_a_day_are_waited_for() -> None:
    assert [at for at, _ in steps(Vigil(86_400), 3 * 86_400)] == [86_400, 172_800, 259_200]
