"""The log of a database is read as SQLite reads it, and further where it is certain that more was safe."""

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.salvage.log import FRAME_HEADER_BYTES, HEADER_BYTES, read_log
from edge_agent.salvage.salvage import Salvage
from tests.edge_agent.salvage.sqlite_files import STATEMENTS, TABLES, Maker, Rows, made, rows_of

HISTORIES = st.lists(
    st.sampled_from(["insert", "insert", "delete", "update", "checkpoint", "truncate"]),
    min_size=1,
    max_size=12,
)
HOW = {"page_size": 1024, "auto_vacuum": 0, "secure_delete": 0}
FRAME = FRAME_HEADER_BYTES + 1024


def salvaged(path: Path, *, with_last: bool = False) -> Rows:
    found: Rows = {table: set() for table in TABLES}
    with Salvage(path, STATEMENTS, with_last=with_last) as salvage:
        for row in salvage.rows():
            found[row.table].add((row.rowid, *row.values))
    return found


def as_sqlite_reads(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
            return {table: set() for table in TABLES}
        return rows_of(connection)


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


@settings(max_examples=25, deadline=None)
@given(HISTORIES, st.sampled_from([512, 1024, 65536]), st.integers(0, 2**32))
def test_a_log_that_was_cut_gives_what_sqlite_makes_of_it(
    steps: list[str], page_size: int, seed: int
) -> None:
    rng = random.Random(seed)
    how = HOW | {"page_size": page_size}
    with tempfile.TemporaryDirectory() as folder, made(Path(folder) / "a", seed, steps, **how) as maker:
        maker.do("insert")
        path = maker.copy(Path(folder) / "b")
        content = log_of(path).read_bytes()
        log_of(path).write_bytes(content[: rng.randrange(len(content) + 1)])
        found = salvaged(path)
        expected = as_sqlite_reads(path)
    assert found == expected


def with_commits(folder: Path, count: int) -> tuple[Maker, Path, list[Rows]]:
    """A database whose log holds that many commits after a checkpoint, and what it held after each."""
    folder.mkdir()
    maker = Maker(folder / "made.db", 9, **HOW)
    for step in ("insert", "insert", "truncate"):
        maker.do(step)
    states = [rows_of(maker.connection)]
    for _ in range(count):
        maker.connection.execute("INSERT INTO numbered (label, data) VALUES ('one', ?)", (bytes(9),))
        states.append(rows_of(maker.connection))
    path = maker.copy(folder / "copy")
    maker.connection.close()
    return maker, path, states


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def commits(path: Path) -> list[int]:
    """The frames of the log that end a transaction, counted from 0."""
    content = log_of(path).read_bytes()
    starts = range(HEADER_BYTES, len(content), FRAME)
    return [number for number, at in enumerate(starts) if any(content[at + 4 : at + 8])]


def test_behind_a_flipped_frame_the_log_is_read_on_where_sqlite_stops(tmp_path: Path) -> None:
    _, path, states = with_commits(tmp_path / "a", 6)
    ends = commits(path)
    flip(log_of(path), HEADER_BYTES + ends[2] * FRAME + FRAME_HEADER_BYTES + 500)
    with log_of(path).open("rb") as file:
        log = read_log(file, 0)
    assert log.damaged
    newest = salvaged(path)["numbered"]
    assert newest > as_sqlite_reads(path)["numbered"] == states[2]["numbered"]
    assert newest <= states[6]["numbered"]


def test_a_last_transaction_with_a_broken_frame_counts_as_not_written(tmp_path: Path) -> None:
    _, path, states = with_commits(tmp_path / "a", 3)
    flip(log_of(path), HEADER_BYTES + commits(path)[-1] * FRAME + FRAME_HEADER_BYTES + 500)
    with log_of(path).open("rb") as file:
        assert not read_log(file, 0).damaged
    assert salvaged(path) == states[2]


def test_the_sound_part_of_the_last_transaction_is_read_for_who_knows_that_it_was_safe(
    tmp_path: Path,
) -> None:
    _, path, states = with_commits(tmp_path / "a", 3)
    last = commits(path)[-2] + 1
    flip(log_of(path), HEADER_BYTES + last * FRAME + FRAME_HEADER_BYTES + 1000)
    with log_of(path).open("rb") as file:
        log = read_log(file, 0, with_last=True)
    assert log.damaged
    assert len(log.broken) == 1
    assert salvaged(path, with_last=True)["named"] == states[3]["named"]


@pytest.mark.parametrize("at", [0, 5, 9, 13, 17, 21, 25, 30])
def test_a_log_without_its_header_is_read_from_its_frames(tmp_path: Path, at: int) -> None:
    _, path, states = with_commits(tmp_path / "a", 6)
    flip(log_of(path), at)
    assert salvaged(path)["numbered"] <= states[6]["numbered"]
    with log_of(path).open("rb") as file:
        log = read_log(file, 1024)
    assert log.damaged
    assert len(log.offsets) > len(log.broken)


@pytest.mark.parametrize("field", [0, 4, 8, 12, 16, 20])
def test_a_frame_whose_header_is_broken_is_left_out_alone(tmp_path: Path, field: int) -> None:
    _, path, states = with_commits(tmp_path / "a", 6)
    flip(log_of(path), HEADER_BYTES + commits(path)[1] * FRAME + field)
    with log_of(path).open("rb") as file:
        assert read_log(file, 0).damaged
    assert salvaged(path)["numbered"] <= states[6]["numbered"]


def test_frames_of_before_the_last_checkpoint_are_never_read(tmp_path: Path) -> None:
    with made(tmp_path / "a", 3, ["insert"] * 5, **HOW) as maker:
        maker.do("checkpoint")
        maker.connection.execute("DELETE FROM numbered")  # begins the log anew, over the old frames
        path = maker.copy(tmp_path / "b")
        assert salvaged(path) == rows_of(maker.connection)
        assert salvaged(path)["numbered"] == set()
