"""What stands in a server's database, read with plain SQL and none of the product's code: SQLite or PostgreSQL."""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

_PARAMETER = re.compile(r":(\w+)")
_FILE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A database by its URL. Looking never changes it, and waits for nobody who writes."""

    url: str

    @property
    def file(self) -> Path | None:
        """Where it is, if it is a file."""
        return Path(self.url.removeprefix(_FILE)) if self.url.startswith(_FILE) else None

    def rows(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """What a statement finds; `:name` stands for a parameter."""
        with self.look() as look:
            return look(statement, **parameters)

    @contextmanager
    def look(self) -> Iterator["Look"]:
        """Several statements in one transaction."""
        if (file := self.file) is not None:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")
                yield Look(connection)
        else:
            with psycopg.connect(self.url, row_factory=dict_row) as other:
                other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield Look(other)

    def change(self, statement: str, **parameters: object) -> int:
        """What no server would do. Returns how many rows it changed."""
        if (file := self.file) is not None:
            with closing(sqlite3.connect(file)) as connection, connection:
                return connection.execute(statement, parameters).rowcount
        with psycopg.connect(self.url) as other:
            return other.execute(_named(statement), parameters).rowcount


@dataclass(frozen=True, slots=True)
class Look:
    """Made by `Ledger.look`."""

    _connection: Any

    def __call__(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        if isinstance(self._connection, sqlite3.Connection):
            return [dict(row) for row in self._connection.execute(statement, parameters)]
        return list(self._connection.execute(_named(statement), parameters))

    def tables(self) -> list[str]:
        """Their names."""
        if isinstance(self._connection, sqlite3.Connection):
            problems = [tuple(row) for row in self._connection.execute("PRAGMA integrity_check")]
            assert problems == [("ok",)], problems
            found = self("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        else:
            found = self("SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'")
        return [row["name"] for row in found]


def _named(statement: str) -> Any:
    """As psycopg writes parameters."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%").replace("::", "\0")).replace("\0", "::")


@dataclass(frozen=True, slots=True)
class Written:
    """Everything that is there."""

    tasks: dict[str, dict[str, Any]]
    orders: dict[str, dict[str, Any]]
    executions: dict[str, dict[str, Any]]
    events: dict[str, list[dict[str, Any]]]
    """By order."""
    everything: str
    """All text in it, but for the keys."""
    artifacts: list[dict[str, Any]]

    def of(self, order_id: str) -> list[dict[str, Any]]:
        """The executions of an order."""
        return [one for one in self.executions.values() if one["work_order_id"] == order_id]


def read(ledger: Ledger) -> Written:
    """All of it, at one moment."""
    with ledger.look() as rows:
        kept = [name for name in rows.tables() if name not in {"keys", "alembic_version"}]
        everything = "\n".join(json.dumps(row, default=str) for name in kept for row in rows(f"SELECT * FROM {name}"))
        events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows("SELECT * FROM events WHERE work_order_id IS NOT NULL ORDER BY seq"):
            events[row["work_order_id"]].append(row | {"data": json.loads(row["data"])})
        return Written(
            tasks={row["id"]: row | {"asked": json.loads(row["asked"])} for row in rows("SELECT * FROM tasks")},
            orders={row["id"]: row for row in rows("SELECT * FROM work_orders")},
            executions={row["id"]: row for row in rows("SELECT * FROM executions")},
            events=events,
            everything=everything,
            artifacts=rows("SELECT * FROM artifacts"),
        )
