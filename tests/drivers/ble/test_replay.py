"""Frames are new once: counters, lives and the memory of what was taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ble.replay import MOST_HELD, PROOF_FRAMES, STRIDE, CounterGuard, Judged, Verdict
from drivers.ble.seen import FRAMES, Seen

WAIT_S = 180.0


class Device:
    """What a guard is told of a device: each frame has a counter and the life that it was sent in."""

    def __init__(self) -> None:
        self.guard: CounterGuard[str] = CounterGuard(Seen("seen/"), wait_s=WAIT_S)
        self.now_s = 0.0
        self.taken: list[str] = []

    def send(self, counter: int, life: str = "a", *, after_s: float = 1.0) -> Judged[str]:
        self.now_s += after_s
        name = f"{life}{counter}"
        judged = self.guard.judge(counter, name.encode(), name, self.now_s)
        self.taken += judged.taken
        return judged

    def verdicts(self, counters: range, life: str = "a", *, after_s: float = 1.0) -> set[Verdict]:
        return {self.send(counter, life, after_s=after_s).verdict for counter in counters}


@pytest.fixture
def device() -> Device:
    """One that has sent 100 to 500 in its first life."""
    device = Device()
    assert device.send(100).verdict is Verdict.FIRST
    assert device.verdicts(range(101, 501)) == {Verdict.NEXT}
    return device


def test_a_frame_is_taken_once(device: Device) -> None:
    assert device.send(500).verdict is Verdict.REPEATED
    assert device.send(499).verdict is Verdict.REPLAYED
    assert device.send(501).verdict is Verdict.NEXT
    assert len(device.taken) == len(set(device.taken)) == 402


def test_lost_frames_do_no_harm(device: Device) -> None:
    assert device.send(5_000).verdict is Verdict.NEXT
    assert device.send(4_000_000_000).verdict is Verdict.NEXT


def test_a_changed_battery_is_believed_after_the_silence_of_the_old_life_and_nothing_is_lost(
    device: Device,
) -> None:
    assert device.verdicts(range(1, 10), "b", after_s=20) == {Verdict.HELD}
    judged = device.send(10, "b", after_s=20)
    assert (judged.verdict, judged.before) == (Verdict.NEW_LIFE, 500)
    assert judged.taken == [f"b{counter}" for counter in range(1, 11)]
    assert device.send(11, "b").verdict is Verdict.NEXT


def test_one_old_frame_is_never_enough(device: Device) -> None:
    device.send(50, "unheard", after_s=1000)
    device.send(50, "unheard", after_s=1000)
    assert device.send(51, "unheard", after_s=1000).verdict is Verdict.HELD
    assert device.taken[-1] == "a500"


def test_a_recording_of_frames_that_were_taken_is_refused_however_long_it_is_played(device: Device) -> None:
    assert device.verdicts(range(100, 500), after_s=30) == {Verdict.REPLAYED}
    assert device.send(501).verdict is Verdict.NEXT


def test_a_recording_of_frames_that_were_not_heard_is_refused_while_the_device_lives(device: Device) -> None:
    device.send(600)
    for round_ in range(20):
        assert device.verdicts(range(501 + 3 * round_, 504 + 3 * round_), "a", after_s=20) == {Verdict.HELD}
        judged = device.send(601 + round_)
        assert (judged.verdict, judged.dropped) == (Verdict.NEXT, 3)
    assert "a501" not in device.taken


def test_a_life_may_begin_anywhere(device: Device) -> None:
    device.send(3_000_000_000)
    for counter in range(777_000, 777_009):
        device.send(counter, "b", after_s=25)
    assert device.taken[-9:] == [f"b{counter}" for counter in range(777_000, 777_009)]


def test_frames_of_an_earlier_life_are_not_taken_in_a_later_one(device: Device) -> None:
    device.verdicts(range(1, 20), "b", after_s=20)
    assert device.send(20, "b").verdict is Verdict.NEXT
    for old in (400, 21 + STRIDE, 120):
        assert device.send(old, "a").verdict is not Verdict.NEXT
    assert device.send(21, "b").verdict is Verdict.NEXT


def test_an_unheard_frame_of_an_earlier_life_is_held_in_a_later_one(device: Device) -> None:
    device.verdicts(range(1, 20), "b", after_s=20)
    assert device.send(20 + STRIDE, "unheard").verdict is Verdict.HELD
    assert device.send(20, "b").verdict is Verdict.NEXT
    assert device.send(501, "b").verdict is Verdict.NEXT  # no life has had it


def test_a_later_life_goes_through_all_the_numbers_of_an_earlier_one(device: Device) -> None:
    device.verdicts(range(1, 20), "b", after_s=20)
    before = len(device.taken)
    device.verdicts(range(20, 700), "b", after_s=2)
    known = 680 - (len(device.taken) - before)
    assert known <= 6  # of 100, less than one is taken for known though it is new


def test_a_second_change_of_battery_is_believed_as_the_first(device: Device) -> None:
    for life in "bcdef":
        verdicts = [device.send(counter, life, after_s=20).verdict for counter in range(0, 30)]
        assert verdicts.count(Verdict.NEW_LIFE) == 1
    assert device.send(30, "f").verdict is Verdict.NEXT
    assert device.guard.past == [(0, 29), (100, 500)]


@pytest.mark.parametrize("width", [16, 24, 32])
def test_a_counter_that_is_full_begins_again_and_nothing_is_lost(width: int) -> None:
    device = Device()
    top = 1 << width
    sent = [*range(top - 20, top), *range(0, 40)]
    for number, counter in enumerate(sent):
        device.send(counter, "before" if number < 20 else "after", after_s=10)
    assert len(device.taken) == len(sent)


def test_a_reset_after_a_reset_is_held_anew(device: Device) -> None:
    device.verdicts(range(1, 6), "b", after_s=10)
    judged = device.send(1, "c", after_s=10)
    assert (judged.verdict, judged.dropped) == (Verdict.HELD, 5)
    device.verdicts(range(2, 12), "c", after_s=30)
    assert not [name for name in device.taken if name.startswith("b")]
    assert "c1" in device.taken


def test_a_held_frame_that_is_heard_twice_is_held_once(device: Device) -> None:
    assert device.send(1, "b").verdict is Verdict.HELD
    assert device.send(1, "b").verdict is Verdict.REPEATED


def test_what_is_held_is_bounded(device: Device) -> None:
    judged: Judged[str] | None = None
    for counter in range(1, MOST_HELD + 100):
        judged = device.send(counter, "b", after_s=0.5 if counter < MOST_HELD + 50 else 60)
        if judged.verdict is Verdict.NEW_LIFE:
            break
    assert judged is not None
    assert len(judged.taken) == MOST_HELD
    assert judged.dropped > 0


def test_a_guard_goes_on_from_what_was_kept(device: Device) -> None:
    kept: dict[str, str] = {}
    first = CounterGuard[str](Seen("seen/"), wait_s=WAIT_S)
    for counter in range(10):
        kept |= first.judge(counter, b"%d" % counter, "", float(counter)).marks
    assert first.first is not None
    assert first.last is not None
    second = CounterGuard[str](Seen.restored("seen/", first.seen.state, kept), wait_s=WAIT_S)
    second.restore(first.first, first.last, first.past, b"9")
    assert second.judge(9, b"9", "", 0.0).verdict is Verdict.REPEATED
    for counter in range(9):
        assert second.judge(counter, b"%d" % counter, "", 1000.0 * counter).verdict is Verdict.REPLAYED
    assert second.judge(10, b"10", "", 9000.0).verdict is Verdict.NEXT


def test_the_memory_forgets_nothing_for_a_generation_and_takes_little_for_known() -> None:
    seen, marks = Seen("s/"), dict[str, str]()
    total = 2 * FRAMES + 1
    for number in range(total):
        marks |= seen.add(b"%d" % number)
    assert all(seen.has(b"%d" % number) for number in range(total - FRAMES, total))
    wrong = sum(seen.has(b"other %d" % number) for number in range(10_000))
    assert wrong < 100
    kept = {name: text for name, text in marks.items() if text}
    assert len(kept) <= 128
    assert max(map(len, kept.values())) <= 700
    again = Seen.restored("s/", seen.state, kept)
    assert all(again.has(b"%d" % number) for number in range(total - FRAMES, total))


def test_a_damaged_mark_of_the_memory_counts_as_not_there() -> None:
    seen = Seen("s/")
    marks = seen.add(b"1")
    damaged = dict.fromkeys(marks, "no base64 \x00")
    assert not Seen.restored("s/", seen.state, damaged).has(b"1")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.floats(0, 400)), max_size=60))
def test_whatever_comes_no_frame_is_taken_twice(sent: list[tuple[int, str, float]]) -> None:
    device = Device()
    for counter, life, after_s in sent:
        device.send(counter, life, after_s=after_s)
    assert len(device.taken) == len(set(device.taken))


@pytest.mark.parametrize("had", range(3, 40))
def test_a_battery_that_is_changed_early_costs_no_reading_though_the_counters_overtake(had: int) -> None:
    device = Device()
    for counter in range(had):
        device.send(counter, "a", after_s=10)
    for counter in range(60):
        device.send(counter, "b", after_s=10)
    assert len(device.taken) == had + 60


def test_one_unheard_frame_does_not_hold_up_a_device_that_lives(device: Device) -> None:
    device.send(502)
    device.send(501, "a")  # was not heard in its time, and is played later
    judged = device.send(503)
    assert (judged.verdict, judged.dropped) == (Verdict.NEXT, 1)


def test_fewer_frames_than_needed_prove_nothing(device: Device) -> None:
    for counter in range(PROOF_FRAMES - 1):
        assert device.send(counter, "b", after_s=10 * WAIT_S).verdict is Verdict.HELD
    assert device.send(PROOF_FRAMES, "b").verdict is Verdict.NEW_LIFE
