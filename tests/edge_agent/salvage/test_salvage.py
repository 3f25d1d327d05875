"""Every row of an intact file is read, of a damaged one every untouched row, and never a deleted one."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.salvage.found import Row, Via
from edge_agent.salvage.salvage import Salvage
from tests.edge_agent.salvage.sqlite_files import (
    ROWID_TABLES,
    STATEMENTS,
    TABLES,
    Rows,
    made,
    pages_of_rows,
    rows_of,
    tree_pages,
)

PAGE_SIZES = [512, 1024, 4096, 4096, 65536]
HISTORIES = st.lists(
    st.sampled_from(["insert", "insert", "insert", "delete", "update", "checkpoint", "truncate", "vacuum"]),
    min_size=1,
    max_size=14,
)
SETTINGS = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from(PAGE_SIZES),
        "auto_vacuum": st.sampled_from([0, 0, 1, 2]),
        "secure_delete": st.sampled_from([0, 1]),
    }
)


def salvaged(path: Path, *, doubtful: bool = True) -> list[Row]:
    with Salvage(path, STATEMENTS) as salvage:
        return [row for row in salvage.rows() if doubtful or row.via is not Via.DOUBTFUL]


def by_table(rows: list[Row]) -> Rows:
    found: Rows = {table: set() for table in TABLES}
    for row in rows:
        found[row.table].add((row.rowid, *row.values))
    assert sum(map(len, found.values())) == len(rows)  # none twice
    return found


@settings(max_examples=40, deadline=None)
@given(HISTORIES, SETTINGS, st.integers(0, 2**32))
def test_of_an_intact_file_every_row_is_read_and_no_other(
    steps: list[str], how: dict[str, int], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, made(Path(folder) / "a", seed, steps, **how) as maker:
        found = salvaged(maker.copy(Path(folder) / "b"))
        assert by_table(found) == rows_of(maker.connection)
        assert {row.via for row in found} <= {Via.TREE}


@settings(max_examples=40, deadline=None)
@given(HISTORIES, SETTINGS, st.integers(0, 2**32))
def test_a_row_whose_pages_are_untouched_is_found_and_no_deleted_one(
    steps: list[str], how: dict[str, int], seed: int
) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, made(Path(folder) / "a", seed, steps, **how) as maker:
        maker.do("truncate")
        path = maker.copy(Path(folder) / "b")
        truth = rows_of(maker.connection)
        places = pages_of_rows(maker.connection)
        bad = bytearray(path.read_bytes())
        size = how["page_size"]
        touched = set(
            rng.sample(range(1, len(bad) // size + 1), min(rng.choice([1, 1, 2, 5]), len(bad) // size))
        )
        for number in touched:
            damage_page(bad, number, size, rng)
        path.write_bytes(bad)
        check(salvaged(path), truth, places, touched)


def damage_page(file: bytearray, number: int, size: int, rng: random.Random) -> None:
    begin = (number - 1) * size
    match rng.randrange(4):
        case 0:
            file[begin : begin + size] = rng.randbytes(size)
        case 1:
            file[begin : begin + size] = bytes(size)
        case 2:
            for _ in range(rng.randrange(1, 4)):
                file[begin + rng.randrange(size)] ^= 1 << rng.randrange(8)
        case 3:
            at = begin + rng.randrange(min(size, 120))  # where headers are
            file[at] ^= 1 << rng.randrange(8)


def check(found: list[Row], truth: Rows, places: dict[str, dict[int, set[int]]], touched: set[int]) -> None:
    """Nothing untouched is missing; of what is certain, only what stood on a touched page may be untrue."""
    got = by_table(found)
    for table in ROWID_TABLES:
        rows = {row[0]: row for row in truth[table]}
        untouched = {row for rowid, row in rows.items() if not places[table][rowid] & touched}
        assert untouched <= got[table], f"{table}: lost {len(untouched - got[table])}"
    for row in found:
        if row.via is Via.DOUBTFUL or row.page in touched:
            continue
        if (row.rowid, *row.values) not in truth[row.table]:  # its own bytes were touched
            assert row.table not in ROWID_TABLES or places[row.table][row.rowid or 0] & touched


def test_a_deleted_row_that_was_left_lying_does_not_come_back(tmp_path: Path) -> None:
    steps = ["insert"] * 12 + ["truncate", "delete", "delete", "delete", "update", "truncate"]
    with made(tmp_path / "a", 5, steps, page_size=1024, auto_vacuum=0, secure_delete=0) as maker:
        path = maker.copy(tmp_path / "b")
        truth = rows_of(maker.connection)
        good = path.read_bytes()
        inner = [page for name, kind, page in tree_pages(maker.connection) if kind == "internal"]
        lying_about = 0
        for page in inner:
            path.write_bytes(good[: (page - 1) * 1024] + bytes(1024) + good[page * 1024 :])
            found = by_table(salvaged(path))
            assert all(found[table] <= truth[table] for table in TABLES)
            assert all(found[table] == truth[table] for table in ROWID_TABLES)
            lying_about += b"\r" in good
        assert lying_about == len(inner) > 3


def test_without_the_list_of_free_pages_it_says_which_rows_may_be_deleted_ones(tmp_path: Path) -> None:
    steps = ["insert"] * 12 + ["delete", "delete", "delete", "truncate"]
    with made(tmp_path / "a", 5, steps, page_size=1024, auto_vacuum=0, secure_delete=0) as maker:
        path = maker.copy(tmp_path / "b")
        bad = bytearray(path.read_bytes())
        [root] = maker.connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'numbered'")
        bad[(root[0] - 1) * 1024] = 0
        bad[36:40] = b"\x00\x00\x00\x01"  # how many free pages there are
        path.write_bytes(bad)
        truth = rows_of(maker.connection)
        assert by_table(salvaged(path, doubtful=False))["numbered"] == set()
        assert by_table(salvaged(path))["numbered"] >= truth["numbered"]
        assert {row.via for row in salvaged(path) if row.table == "numbered"} == {Via.DOUBTFUL}


def test_a_row_that_is_not_as_it_was_written_is_counted_and_left_out(tmp_path: Path) -> None:
    with made(tmp_path / "a", 5, ["insert"], page_size=1024, auto_vacuum=0, secure_delete=0) as maker:
        path = maker.copy(tmp_path / "b")
        truth = rows_of(maker.connection)
        with Salvage(
            path, STATEMENTS, is_sound=lambda table, row: table != "numbered" or row[0] != 3
        ) as salvage:
            found = by_table(list(salvage.rows()))
        assert found["numbered"] == {row for row in truth["numbered"] if row[0] != 3}
        assert salvage.report.broken == {"numbered": 1}
        assert salvage.report.rows["numbered"] == len(truth["numbered"]) - 1


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_page_size_is_found_out_when_the_header_is_gone(tmp_path: Path, page_size: int) -> None:
    steps = ["insert"] * 5 + ["truncate"]
    with made(tmp_path / "a", 5, steps, page_size=page_size, auto_vacuum=0, secure_delete=0) as maker:
        path = maker.copy(tmp_path / "b")
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
        with Salvage(path, STATEMENTS) as salvage:
            found = by_table(list(salvage.rows()))
        assert salvage.report.page_size == page_size
        assert all(found[table] == rows for table, rows in rows_of(maker.connection).items())


@pytest.mark.parametrize("content", [b"", b"SQLite", b"no database" * 1000, bytes(100_000)])
def test_a_file_that_is_no_database_has_no_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some"
    path.write_bytes(content)
    assert salvaged(path) == []


def test_nothing_is_written_and_no_file_is_made(tmp_path: Path) -> None:
    with made(
        tmp_path / "a", 5, ["insert", "insert"], page_size=1024, auto_vacuum=0, secure_delete=0
    ) as maker:
        path = maker.copy(tmp_path / "b")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    salvaged(path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_each_step_does_a_little_so_that_others_get_their_turn(tmp_path: Path) -> None:
    with made(tmp_path / "a", 5, ["insert"] * 10, page_size=1024, auto_vacuum=0, secure_delete=0) as maker:
        path = maker.copy(tmp_path / "b")
        with Salvage(path, STATEMENTS) as salvage:
            steps = list(salvage.table("numbered"))
        assert max(map(len, steps)) <= 1024 // 8
        assert sum(map(len, steps)) == len(rows_of(maker.connection)["numbered"])
