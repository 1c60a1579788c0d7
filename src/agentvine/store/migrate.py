"""Bring a database to the schema of this code."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from agentvine.store.sqlite import connect

_ONE_AT_A_TIME = 0x6D69_6772_6174  # any number, the same in every server process


class DatabaseTooNew(Exception):
    """A newer AgentVine has used this database; its schema is unknown here. The message says what to do."""


class DatabaseDamaged(Exception):
    """SQLite's own check found the file inconsistent. The message says where."""


def migrate(url: str) -> None:
    """Create or upgrade the schema; harmless if there is nothing to do. Blocks; several processes may run it at once.

    Raises `DatabaseTooNew`, `DatabaseDamaged`.
    """
    with _connected(url) as connection:
        script = ScriptDirectory.from_config(_config(connection))
        present = MigrationContext.configure(connection).get_current_revision()
        if present is not None and present not in {revision.revision for revision in script.walk_revisions()}:
            raise DatabaseTooNew(
                f"the database has schema {present}, this AgentVine knows up to {script.get_current_head()}: "
                "start the newer version, or restore the backup from before the upgrade"
            )
        if present != script.get_current_head():
            command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection within one transaction, which nobody else migrates beside."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        _check_file(Path(address.database or ""))
        engine = create_engine(address, poolclass=NullPool)
        # The driver would begin transactions late and never for DDL; here it must be before the first look.
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        engine = create_engine(address.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        if address.get_backend_name() != "sqlite":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONE_AT_A_TIME})
        yield connection


def _check_file(path: Path) -> None:
    try:
        with closing(connect(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}): restore a backup")
