"""All rows of a database as JSON Lines, and back, whichever kind of database it is.

A line is an object: each column by its name, as it is stored (moments in microseconds since 1970, structured values as
JSON text). Tables come in an order in which whatever a row refers to is there before it. The columns are those that the
database has, not those that this code knows, so that an older export can be loaded and then be upgraded.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import orjson
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from agentvine.store.address import sqlite_path
from agentvine.store.history import revisions, upgrade
from agentvine.store.tables import metadata

_AT_ONCE = 500
_REVISIONS = "alembic_version"


class DatabaseNotUsable(Exception):
    """It has no schema, is not empty, or does not take what it is given. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database at one moment."""

    revision: str
    kind: str
    """sqlite or postgresql."""
    tables: tuple[str, ...]
    _connection: Connection
    _known: MetaData

    def rows(self, table: str) -> Iterator[bytes]:
        """Its rows by primary key, a line of JSON each."""
        there = self._known.tables[table]
        ordered = there.select().order_by(*there.primary_key.columns)
        found = self._connection.execution_options(yield_per=_AT_ONCE).execute(ordered)
        names = [f"{column.name}" for column in there.columns]  # plain strings, as orjson wants its keys
        for row in found:
            yield orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """The database at `url` as it is now, whatever is written meanwhile. Raises DatabaseNotUsable."""
    engine = _engine(url, "BEGIN")
    try:
        with engine.connect() as connection, connection.begin():
            if engine.dialect.name != "sqlite":
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            revision = MigrationContext.configure(connection).get_current_revision()
            if revision is None:
                raise DatabaseNotUsable("there is no AgentVine database there; start a server once, or name another")
            known = _reflected(connection)
            names = tuple(table.name for table in known.sorted_tables)
            yield Snapshot(revision, engine.dialect.name, names, connection, known)
    except DBAPIError as error:
        raise DatabaseNotUsable(f"the database cannot be read: {error.orig}") from error
    finally:
        engine.dispose()


def check_empty(url: str) -> None:
    """Raises DatabaseNotUsable unless there is nothing of ours at `url`."""
    if (path := sqlite_path(url)) is not None:
        if path.exists():
            raise DatabaseNotUsable(f"{path} exists already; name an empty place")
        return
    engine = _engine(url, "BEGIN")
    try:
        with engine.connect() as connection:
            ours = {_REVISIONS, *metadata.tables}
            if taken := sorted(ours.intersection(inspect(connection).get_table_names())):
                raise DatabaseNotUsable(
                    f"the database has a table {taken[0]} already; name one that is empty (createdb makes one)"
                )
    except DBAPIError as error:
        raise DatabaseNotUsable(f"the database cannot be reached: {error.orig}") from error
    finally:
        engine.dispose()


def check_known(revision: str, made_by: str) -> None:
    """Raises DatabaseNotUsable for a schema that is newer than this code."""
    if revision not in revisions():
        raise DatabaseNotUsable(
            f"it has schema {revision}, this AgentVine knows up to {revisions()[-1]}: install AgentVine {made_by}, "
            "which made it, or a newer one"
        )


def load(url: str, revision: str, tables: Mapping[str, Iterable[bytes]]) -> dict[str, int]:
    """Fill an empty database with the rows of `tables`, then bring it to the newest schema. All of it, or nothing.

    Returns how many rows each has got. Raises DatabaseNotUsable.
    """
    engine = _engine(url, "BEGIN IMMEDIATE")
    try:
        with engine.begin() as connection:
            upgrade(connection, revision)
            known = _reflected(connection)
            if unknown := sorted(tables.keys() ^ {table.name for table in known.sorted_tables}):
                raise DatabaseNotUsable(f"the table {unknown[0]} is there and should not be, or the other way round")
            counts = {table.name: _fill(connection, table, tables[table.name]) for table in known.sorted_tables}
            _check_references(connection)
            _go_on_counting(connection, known)
            upgrade(connection)
    except (SQLAlchemyError, orjson.JSONDecodeError) as error:
        raise DatabaseNotUsable(f"the rows do not fit: {getattr(error, 'orig', None) or error}") from error
    finally:
        engine.dispose()
    return counts


def column(line: bytes, name: str) -> str:
    """One text of a row."""
    return str(orjson.loads(line)[name])


def _fill(connection: Connection, table: Table, lines: Iterable[bytes]) -> int:
    count, rest = 0, iter(lines)
    while batch := [orjson.loads(line) for line in islice(rest, _AT_ONCE)]:
        columns = set(table.columns.keys())
        if any(not isinstance(row, dict) or set(row) != columns for row in batch):
            raise DatabaseNotUsable(f"a row of {table.name} has other columns than the table")
        connection.execute(table.insert(), batch)
        count += len(batch)
    return count


def _check_references(connection: Connection) -> None:
    """PostgreSQL has looked at each row; SQLite looks when it is asked to."""
    if connection.dialect.name != "sqlite":
        return
    wrong = connection.execute(text("PRAGMA foreign_key_check")).first()
    if wrong is not None:
        raise DatabaseNotUsable(f"a row of {wrong[0]} refers to a row of {wrong[2]} that is not there")


def _go_on_counting(connection: Connection, known: MetaData) -> None:
    """Rows came with their numbers; the next one must not get one of them."""
    if connection.dialect.name == "sqlite":
        return
    for table in known.sorted_tables:
        for column in table.primary_key.columns:
            counter = connection.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
            ).scalar()
            if counter is not None:
                # Names of the schema, not values. An empty table begins at 1.
                last = f"SELECT setval(:counter, COALESCE(MAX({column.name}), 1), COUNT(*) > 0) FROM {table.name}"  # noqa: S608
                connection.execute(text(last), {"counter": counter})


def _reflected(connection: Connection) -> MetaData:
    known = MetaData()
    known.reflect(connection, only=lambda name, _: name != _REVISIONS)
    return known


def _engine(url: str, begin: str) -> Engine:
    if (path := sqlite_path(url)) is None:
        return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    # As in `migrate`: the driver would begin transactions late, and never for DDL.
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine
