"""Each uplink counts once, in the order of its counter, whatever the network does to it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.parking.sessions import WINDOW, Memory, Verdict, from_mark, to_mark

NEW, LATE, REPEATED, TOO_OLD = Verdict
A, B = "00000001", "00000002"
T = 1_790_000_000_000


def judged(memory: Memory, *uplinks: tuple[str, int, int | None]) -> tuple[list[Verdict], Memory]:
    """The verdict on each (address, counter, second), with the memory stored and read again in between."""
    verdicts = []
    for address, count, second in uplinks:
        verdict, memory = memory.judge(address, count, None if second is None else T + 1000 * second)
        memory = from_mark(to_mark(memory))
        verdicts.append(verdict)
    return verdicts, memory


@pytest.mark.parametrize(
    ("uplinks", "verdicts"),
    [
        pytest.param([(A, 0, 0), (A, 1, 1), (A, 5, 5)], [NEW, NEW, NEW], id="in order, some lost"),
        pytest.param([(A, 0, 0), (A, 0, 0)], [NEW, REPEATED], id="twice"),
        pytest.param([(A, 4, 4), (A, 2, 2), (A, 2, 2)], [NEW, LATE, REPEATED], id="late, then again"),
        pytest.param([(A, 300, 9), (A, 300 - WINDOW, 1)], [NEW, TOO_OLD], id="too late to tell"),
        pytest.param([(A, 9, 9), (B, 0, 10), (B, 1, 11)], [NEW, NEW, NEW], id="another address"),
        pytest.param([(A, 9, 9), (B, 0, 10), (A, 8, 8)], [NEW, NEW, LATE], id="late from the session before"),
        pytest.param([(A, 9, 9), (B, 0, 10), (A, 9, 9)], [NEW, NEW, REPEATED], id="again from before"),
        pytest.param([(A, 9, 9), (B, 0, 10), (A, 10, 9)], [NEW, NEW, LATE], id="the last word from before"),
        pytest.param([(A, 9, 9), (A, 0, 10), (A, 1, 11)], [NEW, NEW, NEW], id="a reset that nobody told"),
        pytest.param([(A, 500, 9), (A, 0, 10), (A, 501, 8)], [NEW, NEW, LATE], id="late from before a reset"),
        pytest.param([(A, 500, 9), (A, 0, 10), (A, 2, 12), (A, 1, 11)], [NEW, NEW, NEW, LATE], id="after"),
        pytest.param([(A, 65_535, 9), (A, 0, 10), (A, 1, 11)], [NEW, NEW, NEW], id="16 bits run over"),
        pytest.param([(A, 65_535, None), (A, 0, None), (A, 65_534, None)], [NEW, NEW, LATE], id="no time"),
        pytest.param([(A, 65_535, 1), (A, 65_536, 2), (A, 65_535, 1)], [NEW, NEW, REPEATED], id="32 bits"),
        pytest.param([(A, 4_294_967_295, 1)], [NEW], id="the largest counter"),
        pytest.param([(A, 5, 5), (A, 5, 6)], [NEW, REPEATED], id="sent again by radio"),
        pytest.param([(A, 5, 5), (B, 0, 9), ("0000000a", 3, 1)], [NEW, NEW, LATE], id="long ago"),
    ],
)  # fmt: skip
def test_an_uplink_is_new_late_or_repeated(
    uplinks: list[tuple[str, int, int | None]], verdicts: list[Verdict]
) -> None:
    assert judged(Memory(), *uplinks)[0] == verdicts


def test_a_join_begins_a_session_even_with_the_same_address() -> None:
    _, memory = judged(Memory(), (A, 7, 7))
    verdicts, _ = judged(memory.begin(A, T + 8000), (A, 0, 9), (A, 7, 7), (A, 6, 6), (A, 1, 10))
    assert verdicts == [NEW, REPEATED, LATE, NEW]


def test_the_news_of_a_join_that_comes_after_its_first_uplinks_changes_nothing() -> None:
    _, memory = judged(Memory(), (A, 7, 7), (B, 0, 9))
    assert memory.begin(B, T + 8000) is memory


def test_a_reset_that_is_told_lets_the_counter_begin_again_without_any_time() -> None:
    _, memory = judged(Memory(), (A, 7, None))
    assert judged(memory.begin(A, None), (A, 0, None), (A, 1, None))[0] == [NEW, NEW]


def test_ids_are_known_for_a_while_also_after_a_restart() -> None:
    memory = from_mark(to_mark(Memory().noting("3ac7e3c4-4401-4b8d-9386-a5c902f9202d")))
    assert memory.knows("3ac7e3c4-4401-4b8d-9386-a5c902f9202d")
    assert not memory.knows("another")
    assert not memory.noting("").knows("")


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"now": 7}', '{"now": {"address": "a", "seen": "xyz"}}'])
def test_a_mark_that_nobody_can_read_counts_as_not_there(mark: str) -> None:
    assert from_mark(mark) == Memory()


@given(st.integers(0, 1 << 40), st.integers(1, 60), st.integers(0, 70_000))
def test_in_any_order_with_any_repetitions_each_uplink_is_taken_once(
    seed: int, size: int, first: int
) -> None:
    """Delivered up to 40 places late and up to three times; the newest is always NEW, the others LATE."""
    rng = random.Random(seed)
    sent = [(rng.uniform(n, n + 40), n) for n in range(size) for _ in range(rng.choice([1, 1, 2, 3]))]
    taken: list[int] = []
    newest = -1
    memory = Memory()
    for _, n in sorted(sent):
        [verdict], memory = judged(memory, (A, first + n, n))
        if verdict in (NEW, LATE):
            taken.append(n)
            assert (verdict is NEW) is (n > newest)
            newest = max(newest, n)
    assert sorted(taken) == list(range(size))


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 1 << 32), st.none() | st.integers(0, 99))))
def test_no_sequence_of_uplinks_does_harm(uplinks: list[tuple[str, int, int | None]]) -> None:
    verdicts, memory = judged(Memory(), *uplinks)
    assert len(verdicts) == len(uplinks)
    assert len(to_mark(memory)) < 2000
