"""Creates the tables of a database, or brings them to the version of this program."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DatabaseError

from collector.store.engine import StoreUnusable
from collector.store.migrations import HEAD


def upgrade(path: Path) -> None:
    """Make `path` a database of this version. Changes nothing when it is one already.

    Raise StoreUnusable when it is none of ours, or of a newer version; then nothing was changed.
    """
    # We say BEGIN ourselves: the driver would leave CREATE TABLE outside of every transaction.
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            command.upgrade(alembic_config(connection), HEAD)
    except (CommandError, DatabaseError) as err:
        what = err.orig if isinstance(err, DatabaseError) else err
        raise StoreUnusable(
            f"{path}: its tables cannot be brought to version {HEAD}: {what}; "
            "if a newer program wrote it, start that one, else restore a backup"
        ) from err
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on `connection`."""
    config = Config()
    config.set_main_option("script_location", "collector.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
