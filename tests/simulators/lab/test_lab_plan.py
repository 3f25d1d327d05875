"""A seed says all of what goes wrong, and a file of it can be kept, read by people and played again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.times import DAY_MS, Clock
from simulators.lab.plan import KINDS, MIXES, Fault, MixMistake, Trace, plan
from simulators.lab.player import Moment, moments, play
from simulators.lab.trace import TraceMistake, lines_of, read_trace
from tests.support.virtual_loop import in_virtual_time

WEEK_MS = 7 * DAY_MS


@given(st.integers(0, 2**63), st.sampled_from(sorted(MIXES)))
def test_the_same_seed_gives_the_same_week_letter_by_letter(seed: int, mix: str) -> None:
    hour_ms = DAY_MS // 24
    assert list(lines_of(plan(seed, hour_ms, mix))) == list(lines_of(plan(seed, hour_ms, mix)))


def test_another_seed_gives_another_week() -> None:
    assert plan(1, WEEK_MS).faults != plan(2, WEEK_MS).faults


@given(st.integers(0, 1000))
def test_a_longer_time_begins_as_a_shorter_one(seed: int) -> None:
    week, day = plan(seed, WEEK_MS).faults, plan(seed, DAY_MS).faults
    assert tuple(fault for fault in week if fault.at_ms < DAY_MS) == day


@given(st.integers(0, 1000), st.lists(st.sampled_from(sorted(MIXES["bad-week"])), min_size=1))
def test_leaving_kinds_out_moves_no_other(seed: int, only: list[str]) -> None:
    all_of_them = plan(seed, DAY_MS).faults
    assert plan(seed, DAY_MS, only=only).faults == tuple(f for f in all_of_them if f.kind in only)


@given(st.integers(0, 1000))
def test_faults_are_of_known_kinds_and_as_bad_as_their_habit_says_and_never_twice_at_once(seed: int) -> None:
    ends: dict[str, int] = {}
    for fault in plan(seed, WEEK_MS).faults:
        assert fault.kind in KINDS
        habit = MIXES["bad-week"][fault.kind]
        assert ends.get(fault.kind, 0) <= fault.at_ms < WEEK_MS
        assert habit.lasts_s[0] * 1000 <= fault.lasts_ms <= habit.lasts_s[1] * 1000
        for name, (least, most) in (habit.how or {}).items():
            assert least - 0.001 <= fault.how[name] <= most + 0.001
        ends[fault.kind] = fault.at_ms + fault.lasts_ms


def test_a_week_has_something_of_everything() -> None:
    assert {fault.kind for fault in plan(7, WEEK_MS).faults} == set(MIXES["bad-week"])


def test_a_timetable_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    trace = plan(7, WEEK_MS)
    file = tmp_path / "trace.jsonl"
    file.write_text("\n".join(lines_of(trace)))
    assert read_trace(file) == trace


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no timetable; make one with `simulators faults plan"),
        ("hello", ":1: no line of a timetable"),
        ('{"trace":2,"seed":1,"duration_ms":1,"mix":"soak"}', "no timetable"),
        ('{"trace":1,"seed":1,"duration_ms":1,"mix":"soak"}\n{"at_ms":1}', ":2: no line"),
        (
            '{"trace":1,"seed":1,"duration_ms":1,"mix":"soak"}\n{"at_ms":1,"kind":"disk.ful"}',
            ":2: there is no fault 'disk.ful' (did you mean 'disk.full'?)",
        ),
        ('{"trace":1,"seed":1,"duration_ms":1,"mix":"soak"}\n{"at_ms":-1,"kind":"disk.full"}', ":2: a fault"),
    ],
)
def test_a_file_that_is_no_timetable_is_told_where(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(text)
    with pytest.raises(TraceMistake) as mistake:
        read_trace(file)
    assert told in str(mistake.value)


@pytest.mark.parametrize(
    ("mix", "only", "told"), [("bad", (), "bad-week"), ("soak", ("netwerk",), "network")]
)
def test_a_mix_or_kind_that_there_is_not_is_told_with_the_nearest(
    mix: str, only: tuple[str], told: str
) -> None:
    with pytest.raises(MixMistake, match=told):
        plan(1, DAY_MS, mix, only)


class Diary:
    """Notes what happens to it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: list[tuple[float, str, str]] = []

    async def begin(self, fault: Fault) -> None:
        self.entries.append((self._clock.monotonic_s(), "begin", fault.kind))

    async def end(self, fault: Fault) -> None:
        self.entries.append((self._clock.monotonic_s(), "end", fault.kind))


def test_a_timetable_is_played_at_its_times_to_those_whom_it_concerns() -> None:
    faults = (
        Fault(1000, "network.cut", 3000),
        Fault(2000, "agent.kill"),
        Fault(2500, "disk.full", 1000),
        Fault(3000, "network.loss", 9000, {"share": 0.1}),
    )

    async def main(clock: Clock) -> None:
        diary = Diary(clock)
        told: list[Moment] = []
        trace = Trace(1, 5000, "made", faults)
        await play(trace, {"network": diary, "agent": diary}, clock, told.append)
        assert clock.monotonic_s() == 5.0
        assert diary.entries == [
            (1.0, "begin", "network.cut"),
            (2.0, "begin", "agent.kill"),
            (3.0, "begin", "network.loss"),
            (4.0, "end", "network.cut"),
            (5.0, "end", "network.loss"),  # with the whole, so that nothing stays broken
        ]
        assert [(moment.at_ms / 1000, moment.what, moment.fault.kind) for moment in told] == diary.entries

    in_virtual_time(main)


@given(st.integers(0, 1000))
def test_what_begins_ends_once_and_later(seed: int) -> None:
    running: set[tuple[int, str]] = set()
    for moment in moments(plan(seed, DAY_MS)):
        key = (moment.fault.at_ms, moment.fault.kind)
        if moment.what == "end":
            running.remove(key)
        elif moment.fault.lasts_ms:
            assert key not in running
            running.add(key)
    assert not running
