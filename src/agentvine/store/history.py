"""The schema's history, as Alembic keeps it, and every way through it.

Imported only where a schema has to change or to be looked into: Alembic and SQLAlchemy are slow to import.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from agentvine.store.address import sqlite_path
from agentvine.store.revision import DatabaseTooNew, check_file
from agentvine.store.turns import Turns

_ONE_AT_A_TIME = 0x6D69_6772_6174  # any number, the same in every server process
_LONGEST_TURN = 60.0
"""Seconds that another process may take for its own step of the history."""


class SchemaUnknown(Exception):
    """There is no such schema to go back to. The message names those that there are."""


def bring_up(url: str) -> None:
    """Create or upgrade the schema of a database whose file was checked. Raises `DatabaseTooNew`."""
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


def downgrade(url: str, revision: str, *, really: bool) -> tuple[str, ...]:
    """Bring the schema back to `revision`, for an older release; "base" leaves nothing. No server may run meanwhile.

    Returns what an older schema has no place for, and so is gone: `table` or `table.column`. With `really` False
    nothing is changed, and it is what would be gone. Raises `SchemaUnknown`, `DatabaseTooNew`, `DatabaseDamaged`.
    """
    gone: tuple[str, ...] = ()
    check_file(url)
    with suppress(_TakenBack), _connected(url) as connection:
        known, present = revisions(), MigrationContext.configure(connection).get_current_revision()
        if present not in known:
            raise DatabaseTooNew(f"the database has schema {present}, this AgentVine knows up to {known[-1]}")
        if revision not in ("base", *known[: known.index(present) + 1]):
            older = ", ".join(known[: known.index(present)]) or "base"
            raise SchemaUnknown(f"the database has schema {present}, which can be brought back to {older}")
        before = _columns(connection)
        command.downgrade(_config(connection), revision)
        gone = tuple(sorted(before - _columns(connection)))
        if not really:
            raise _TakenBack
    lost_tables = {name for name in gone if "." not in name}
    return tuple(name for name in gone if name.partition(".")[0] not in lost_tables or name in lost_tables)


def schema(url: str) -> str | None:
    """The schema that the database has; None if it has none. Raises `DatabaseDamaged`."""
    check_file(url)
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


class _TakenBack(Exception):
    """Ends a transaction that was only to see what it would do."""


def _columns(connection: Connection) -> set[str]:
    there = inspect(connection)
    tables = set(there.get_table_names()) - {"alembic_version"}
    return tables | {f"{table}.{column['name']}" for table in tables for column in there.get_columns(table)}


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision`, within the transaction that has begun on `connection`."""
    command.upgrade(_config(connection), revision)


def revisions() -> tuple[str, ...]:
    """Every schema that this code knows, oldest first."""
    script = ScriptDirectory.from_config(_config())
    return tuple(revision.revision for revision in script.walk_revisions())[::-1]


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _turn(path: Path | None) -> Iterator[None]:
    """Of an SQLite file, if it is one: servers that run already must not write, nor copy their log back, meanwhile."""
    if path is None:
        yield
        return
    turns = Turns(path)
    try:
        turns.take(_LONGEST_TURN)
        yield
    finally:
        turns.close()


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection within one transaction, which nobody else migrates beside."""
    path = sqlite_path(url)
    if path is not None:
        engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
        # The driver would begin transactions late and never for DDL; here it must be before the first look.
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with _turn(path), engine.begin() as connection:
        if path is None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONE_AT_A_TIME})
        yield connection
