"""Which schema a database has, asked with its plain driver: what can change a schema is slow to import."""

import sqlite3
from contextlib import closing
from pathlib import Path

from agentvine.store.address import sqlite_path
from agentvine.store.sqlite_connection import connect

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_PRESENT = "SELECT version_num FROM alembic_version"


class DatabaseTooNew(Exception):
    """A newer AgentVine has used this database; its schema is unknown here. The message says what to do."""


class DatabaseDamaged(Exception):
    """SQLite's own check found the file inconsistent. The message says where."""


def is_newest(url: str) -> bool:
    """Whether the database has the schema of this code. False as well if it cannot be told like this."""
    return _present(url) == [newest()]


def newest() -> str:
    """The schema of this code. A step of the history is a file whose name begins with the schema that it makes."""
    return max(step.name.partition("_")[0] for step in _VERSIONS.glob("[0-9]*.py"))


def check_file(url: str) -> None:
    """Have SQLite check the whole file, if it is one. Raises `DatabaseDamaged`."""
    if (path := sqlite_path(url)) is None:
        return
    try:
        with closing(connect(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}): restore a backup")


def _present(url: str) -> list[str]:
    if (path := sqlite_path(url)) is None:
        return _present_on_server(url)
    with closing(connect(path)) as connection:
        try:
            return [revision for (revision,) in connection.execute(_PRESENT)]
        except sqlite3.OperationalError:  # there is no such table
            return []


def _present_on_server(url: str) -> list[str]:
    import psycopg  # an extra of the package

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return [revision for (revision,) in connection.execute(_PRESENT)]
    except psycopg.Error:
        return []
