"""The door to a database.

open_database("sqlite:///var/agentvine.db")   one writing connection, commits in groups (sqlite.py)
open_database("postgresql://host/agentvine")  a few threads with a connection each (postgresql.py)
"""

from collections.abc import Callable

from agentvine.store.address import sqlite_path
from agentvine.store.database import Database
from agentvine.store.sqlite import SqliteDatabase


def open_database(url: str, *, on_fatal: Callable[[BaseException], None] | None = None) -> Database:
    """The database at `url`, which must have been migrated. A path is relative unless a fourth slash begins it.

    `on_fatal` is called in the event loop when the disk can no longer be trusted: the process must end without
    acknowledging anything more. Raises ValueError for a URL of another kind, `Unavailable` if it cannot be opened.
    """
    if (path := sqlite_path(url)) is not None:
        return SqliteDatabase(path, on_fatal)
    if url.startswith(("postgresql://", "postgres://")):
        from agentvine.store.postgresql import PostgresqlDatabase  # its driver is an extra of the package

        return PostgresqlDatabase(url, on_fatal)
    raise ValueError(f"a database URL starts with sqlite:/// or postgresql://, not {url.partition(':')[0]!r}")


__all__ = ["Database", "open_database"]
