"""A disk of the lab refuses as a real one does, and a database survives exactly what it promises to."""

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.lab.disk import NO_TROUBLE, ControlMistake, Disk, Trouble
from simulators.lab.vfs import between


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(seed=1)
    with between(tmp_path, made):
        yield made


def opened(path: Path, *, synchronous: str = "FULL") -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 20")
    connection.execute("CREATE TABLE IF NOT EXISTS note (text TEXT)")
    return connection


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (Trouble(full="everything"), "SQLITE_FULL"),
        (Trouble(full="growing"), "SQLITE_FULL"),
        (Trouble(short=1), "SQLITE_FULL"),
        (Trouble(read_only=True), "SQLITE_IOERR_WRITE"),
        (Trouble(write_error=1), "SQLITE_IOERR_WRITE"),
        (Trouble(sync_error=1), "SQLITE_IOERR_FSYNC"),
    ],
)
def test_a_write_is_refused_as_the_system_call_would_be_and_works_again_afterwards(
    tmp_path: Path, disk: Disk, trouble: Trouble, told: str
) -> None:
    connection = opened(tmp_path / "a.db")
    connection.execute("INSERT INTO note VALUES ('before')")
    disk.trouble = trouble
    with pytest.raises(sqlite3.OperationalError) as refused:
        connection.execute("INSERT INTO note VALUES (?)", ("x" * 100_000,))
    assert refused.value.sqlite_errorname == told
    assert disk.refused > 0
    disk.trouble = NO_TROUBLE
    connection.execute("INSERT INTO note VALUES ('after')")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT text FROM note").fetchall() == [("before",), ("after",)]
    connection.close()


def test_a_read_fails_with_an_error_and_not_with_other_content(tmp_path: Path, disk: Disk) -> None:
    opened(tmp_path / "a.db").close()
    connection = sqlite3.connect(tmp_path / "a.db")
    disk.trouble = Trouble(read_error=1)
    with pytest.raises(sqlite3.OperationalError) as refused:
        connection.execute("SELECT * FROM note").fetchall()
    assert refused.value.sqlite_errorname == "SQLITE_IOERR_READ"
    disk.trouble = NO_TROUBLE
    assert connection.execute("SELECT * FROM note").fetchall() == []
    connection.close()


def test_a_file_opened_on_a_read_only_disk_can_be_read_and_a_new_one_not_made(
    tmp_path: Path, disk: Disk
) -> None:
    first = opened(tmp_path / "a.db")
    first.execute("INSERT INTO note VALUES ('before')")
    disk.trouble = Trouble(read_only=True)
    connection = sqlite3.connect(tmp_path / "a.db")
    assert connection.execute("SELECT text FROM note").fetchall() == [("before",)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO note VALUES ('x')")
    connection.close()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect(tmp_path / "b.db")
    disk.trouble = NO_TROUBLE
    first.close()


def test_the_files_of_a_database_are_those_that_it_has_without_the_lab(tmp_path: Path, disk: Disk) -> None:
    connection = opened(tmp_path / "a.db")
    connection.execute("INSERT INTO note VALUES ('x')")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "a.db-shm", "a.db-wal"]
    connection.close()
    assert disk.calls > 0


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    disk = Disk()
    with between(tmp_path / "here", disk):
        connection = opened(tmp_path / "elsewhere.db")
        disk.trouble = Trouble(full="everything", read_error=1)
        connection.execute("INSERT INTO note VALUES ('x')")
        connection.close()
    assert disk.calls == 0


@pytest.mark.parametrize("power", [False, True], ids=["killed", "without power"])
def test_whatever_was_committed_survives_a_death_at_any_call(tmp_path: Path, power: bool) -> None:
    for seed in range(40):
        written, found = die_somewhere(tmp_path, seed, synchronous="FULL", power=power)
        assert found is not None, f"seed {seed}: damaged"
        assert written <= found <= written + 1, f"seed {seed}"


def test_what_was_never_synced_is_lost_without_power_but_not_by_a_kill(tmp_path: Path) -> None:
    """Else the test before this one would prove nothing."""
    outcomes = [die_somewhere(tmp_path, seed, synchronous="OFF", power=True) for seed in range(20)]
    assert any(found is None or found < written for written, found in outcomes)
    for seed in range(20, 40):
        written, found = die_somewhere(tmp_path, seed, synchronous="OFF", power=False)
        assert found is not None
        assert found >= written


def die_somewhere(folder: Path, seed: int, *, synchronous: str, power: bool) -> tuple[int, int | None]:
    """How many commits had returned, and how many are there then; None: the file is damaged."""
    path, chance = folder / f"{seed}.db", random.Random(seed)
    disk = Disk(seed=seed, loses_power=power)
    with between(folder, disk):
        connection = opened(path, synchronous=synchronous)
        disk.die_after(chance.randrange(1, 300), disk.cut_power if power else disk.die)
        written = 0
        with contextlib.suppress(sqlite3.OperationalError):
            while True:
                connection.execute("INSERT INTO note VALUES (?)", ("y" * chance.randrange(1, 3000),))
                written += 1
        connection.close()
        connection = sqlite3.connect(path)
        try:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return written, None
            [found] = connection.execute("SELECT count(*) FROM note").fetchone()
        except sqlite3.DatabaseError:
            return written, None
        finally:
            connection.close()
    return written, int(found)


def test_the_same_seed_refuses_the_same_calls(tmp_path: Path) -> None:
    def refused(name: str) -> list[int]:
        (tmp_path / name).mkdir()
        disk = Disk(seed=5)
        with between(tmp_path / name, disk):
            connection = opened(tmp_path / name / "a.db")
            disk.trouble = Trouble(write_error=0.3)
            found = []
            for number in range(100):
                try:
                    connection.execute("INSERT INTO note VALUES ('x')")
                except sqlite3.OperationalError:
                    found.append(number)
            connection.close()
        return found

    first = refused("one")
    assert 10 < len(first) < 90
    assert first == refused("two")


def test_a_control_file_with_a_mistake_is_named(tmp_path: Path) -> None:
    control = tmp_path / "disk.json"
    control.write_text('{"ful": "growing"}')
    disk = Disk(control=control)
    with pytest.raises(ControlMistake, match=r"disk\.json.*`ful`.*full, read_only"):
        disk.may_write(str(tmp_path / "a.db"))
