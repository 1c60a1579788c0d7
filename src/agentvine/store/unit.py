"""A unit of work: what a plain, synchronous function may do inside one transaction.

SQL is written once, in PostgreSQL's words with `:name` parameters; the clauses that lock rows (`FOR …`) fall away on
SQLite, which has one writer at a time anyway. A function of a unit may be run more than once before it is committed
(after a deadlock, say), so it changes nothing but the database, and returns what it found out.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from agentvine.wire.channels import Ring


class Dialect(StrEnum):
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Row(Protocol):
    """A row of a result, read by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class Cursor(Protocol):
    """What both drivers return."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Stale(Exception):
    """A row that was read is no longer what it was: run the work again. Never leaves the store."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL as one driver takes it. `writes` is False for what begins with SELECT."""

    text: str
    writes: bool
    names: tuple[str, ...] = ()
    """Of its parameters, in the order in which they stand, for a driver that takes them so."""


_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_LOCKING = re.compile(r"\s+FOR (?:NO KEY UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?\s*$")
_READING = re.compile(r"\s*SELECT\b")


@lru_cache(maxsize=1024)
def for_sqlite(sql: str) -> Statement:
    """`sql` without row locks, and with `?` for each `:name`, because to look up names takes the driver longer."""
    unlocked = _LOCKING.sub("", sql)
    return Statement(_PARAMETER.sub("?", unlocked), not _READING.match(sql), tuple(_PARAMETER.findall(unlocked)))


@lru_cache(maxsize=1024)
def for_psycopg(sql: str) -> Statement:
    """`sql` with `%(name)s` for each `:name`."""
    return Statement(_PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")), not _READING.match(sql))


class Unit:
    """One transaction, as the functions of the store see it."""

    dialect: Dialect

    def __init__(self) -> None:
        self.rings: list[Ring] = []
        """What to tell once it is committed."""
        self.last: list[tuple[str, Mapping[str, object]]] = []

    def one(self, sql: str, **parameters: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, **parameters: object) -> list[Row]:
        """All rows."""
        return self._execute(sql, parameters).fetchall()

    def run(self, sql: str, **parameters: object) -> int:
        """How many rows were changed."""
        return self._execute(sql, parameters).rowcount

    def run_for_each(self, sql: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once for each set of parameters."""
        for row in rows:
            self._execute(sql, row)

    def run_in_order(self, sql: str, **parameters: object) -> None:
        """Run it at the end of the transaction, such that numbers which it draws become visible in their order."""
        self.last.append((sql, parameters))

    @contextmanager
    def undone_by(self, mistake: type[Exception]) -> Iterator[None]:
        """Undo what is done within if that raises `mistake`, which goes on; what was done before stays."""
        rings, last = len(self.rings), len(self.last)
        self.run("SAVEPOINT part")
        try:
            yield
        except mistake:
            self.run("ROLLBACK TO SAVEPOINT part")
            self.run("RELEASE SAVEPOINT part")
            del self.rings[rings:], self.last[last:]
            raise
        self.run("RELEASE SAVEPOINT part")

    def ring(self, ring: Ring) -> None:
        """Tell whoever waits, after the commit and only then."""
        self.rings.append(ring)

    @abstractmethod
    def _execute(self, sql: str, parameters: Mapping[str, object]) -> Cursor: ...


T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """A plain function of a unit; run in any thread, perhaps more than once."""

    def __call__(self, unit: Unit, /) -> T_co: ...
