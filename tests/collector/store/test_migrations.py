"""The migrations make exactly the tables that the schema describes."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from collector.store.engine import StoreUnusable
from collector.store.migrations import HEAD
from collector.store.schema import metadata
from collector.store.upgrade import alembic_config, upgrade


def statements(path: Path) -> dict[str, list[str]]:
    """What made each table and index, line by line; the order of the lines and quotes mean nothing."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {
        name: sorted(line.strip(" ,\t") for line in sql.replace('"', "").splitlines())
        for name, sql in rows
        if name != "alembic_version"
    }


def test_the_migrations_and_the_schema_agree(tmp_path: Path) -> None:
    upgrade(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        command.check(alembic_config(connection))  # raises when there is a difference
    engine.dispose()


def test_the_migrations_keep_what_alembic_does_not_compare(tmp_path: Path) -> None:
    upgrade(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert statements(tmp_path / "migrated.db") == statements(tmp_path / "direct.db")


def test_the_version_that_the_program_knows_is_the_newest_migration(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'collector.db'}")
    with engine.begin() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_current_head() == HEAD
    engine.dispose()


def test_upgrading_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    upgrade(path)
    before = path.read_bytes()
    upgrade(path)
    assert path.read_bytes() == before


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE site (something_else)")
    connection.close()
    with pytest.raises(StoreUnusable, match="restore a backup"):
        upgrade(path)
    assert list(statements(path)) == ["site"]
