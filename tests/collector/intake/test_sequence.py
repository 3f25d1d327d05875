"""The ranges of what is missing always say the same as a set of all numbers would."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.intake.sequence import Epoch, NumbersTaken, held, note_lost, take_numbers
from collector.store.upgrade import upgrade

EPOCH = Epoch(1, 1)
Step = tuple[str, int, int]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("sequence") / "collector.db"
    upgrade(path)
    opened = sqlite3.connect(path, isolation_level=None)
    opened.execute("PRAGMA synchronous = OFF")
    opened.execute("INSERT INTO site (code, name) VALUES ('a1', 'x')")
    yield opened
    opened.close()


steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "lose"]), st.integers(1, 60), st.integers(1, 12)),
    max_size=25,
)


@given(steps)
def test_ranges_and_a_plain_set_agree(connection: sqlite3.Connection, steps: list[Step]) -> None:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO epoch (site_id, id, gateway_id, epoch) VALUES (1, 1, 'gw', x'00')")
    stored: set[int] = set()
    lost: set[int] = set()
    for kind, first, length in steps:
        numbers = set(range(first, first + length))
        top = max(stored, default=0)
        if kind == "lose":
            note_lost(connection, EPOCH, first, first + length - 1)
            lost |= {n for n in numbers if n < top}
            continue
        try:
            take_numbers(connection, EPOCH, top, first, first + length - 1)
        except NumbersTaken:
            assert numbers & stored
        else:
            assert not numbers & stored
            stored |= numbers
        top = max(stored, default=0)
        missing = set(range(1, top + 1)) - stored
        now = held(connection, EPOCH)
        assert now.high_water == min(missing, default=top + 1) - 1
        assert {n for a, b in now.missing for n in range(a, b + 1)} == missing - lost
    connection.execute("ROLLBACK")


def test_a_receipt_names_at_most_100_ranges(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO epoch (site_id, id, gateway_id, epoch) VALUES (1, 1, 'gw', x'00')")
    for number in range(2, 402, 2):
        take_numbers(connection, EPOCH, max(0, number - 2), number, number)
    now = held(connection, EPOCH)
    assert (now.high_water, len(now.missing), now.missing[-1]) == (0, 100, (199, 199))
    connection.execute("ROLLBACK")
