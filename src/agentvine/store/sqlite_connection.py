"""Connections to an SQLite file, and the unit of work on one."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from agentvine.store.database import unavailable
from agentvine.store.unit import Dialect, Row, Unit, for_sqlite

BUSY_SECONDS = 5.0
"""How long to wait for others that write to the file."""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-32000",
    "wal_autocheckpoint=4000",  # pages of 4 KiB: the same ones are written again and again, and copied back once
    "journal_size_limit=67108864",  # bytes: what the log grew to under load is given back
)


def connect(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection as this program wants it. Transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def opened(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """As `connect`. Raises `Unavailable` if the file cannot be opened."""
    try:
        return connect(path, busy_seconds=busy_seconds)
    except sqlite3.OperationalError as error:
        raise unavailable(f"cannot open the database {path}: {error}") from error


def copy_database(source: Path, target: Path) -> None:
    """Copy the database at `source`, whoever writes to it meanwhile, to one file that stands for itself.

    Raises OSError if it cannot be read or written, or the copy is damaged because `source` is.
    """
    try:
        with closing(connect(source)) as there, closing(sqlite3.connect(target, isolation_level=None)) as copy:
            there.backup(copy, pages=-1)  # in one step: it holds one snapshot, and needs not begin again
            copy.execute("PRAGMA journal_mode=DELETE")
            verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise OSError(f"the database {source} cannot be copied: {error}") from error
    if verdict != "ok":
        raise OSError(f"the database {source} is damaged ({verdict})")


_COLUMNS: dict[str, tuple[str, ...]] = {}
"""Names of the columns that a statement returned last."""


def _columns(sql: str, cursor: sqlite3.Cursor, width: int) -> tuple[str, ...]:
    """The names of `width` columns. There may be more than the last time: a newer server may have added some."""
    columns = _COLUMNS.get(sql, ())
    if len(columns) != width:
        columns = _COLUMNS[sql] = tuple(column[0] for column in cursor.description)
    return columns


class SqliteUnit(Unit):
    """`isolated`: what it writes goes behind a savepoint, because other works are in the same transaction."""

    dialect = Dialect.SQLITE

    def __init__(self, connection: sqlite3.Connection, *, isolated: bool = False) -> None:
        super().__init__()
        self._connection = connection
        self._isolated = isolated
        self.wrote = False

    def _execute(self, sql: str, parameters: Mapping[str, object]) -> sqlite3.Cursor:
        statement = for_sqlite(sql)
        if statement.writes and not self.wrote:
            if self._isolated:
                self._connection.execute("SAVEPOINT work")
            self.wrote = True
        return self._connection.execute(statement.text, [parameters[name] for name in statement.names])

    def one(self, sql: str, **parameters: object) -> Row | None:
        cursor = self._execute(sql, parameters)
        row = cursor.fetchone()
        return None if row is None else dict(zip(_columns(sql, cursor, len(row)), row, strict=True))

    def all(self, sql: str, **parameters: object) -> list[Row]:
        cursor = self._execute(sql, parameters)
        rows = cursor.fetchall()
        columns = _columns(sql, cursor, len(rows[0])) if rows else ()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def finish(self) -> None:
        """The work has returned."""
        for sql, parameters in self.last:
            self._execute(sql, parameters)
        if self._isolated and self.wrote:
            self._connection.execute("RELEASE work")

    def undo(self) -> None:
        """The work has raised. A serious error may have rolled the whole transaction back already."""
        if self._isolated and self.wrote and self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO work")
            self._connection.execute("RELEASE work")
