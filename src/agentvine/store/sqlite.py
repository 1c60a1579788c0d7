"""SQLite: one thread writes, and commits for all who wait at that moment; two threads read.

One durable commit costs one fsync. While it runs, others queue up; the next commit takes them all along. One that is
refused does not hurt the others: if it had written something, all are run again, each behind a savepoint of its own.

Several processes of one machine may do so with one file. They take turns (turns.py), a commit each.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from agentvine.domain.errors import AgentVineError
from agentvine.kit.logs import logger
from agentvine.store.database import QUEUE_LIMIT, Database, Job, unavailable
from agentvine.store.turns import Turns
from agentvine.store.unit import Dialect, Row, Unit, for_sqlite

_BATCH_LIMIT = 64
_READERS = 2
_BUSY_SECONDS = 5.0
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-32000",
    "wal_autocheckpoint=4000",  # pages of 4 KiB: the same ones are written again and again, and copied back once
    "journal_size_limit=67108864",  # bytes: what the log grew to under load is given back
)
_log = logger("store")

_PASSING = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
)
_UNTRUSTWORTHY = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
    }
)
"""After one of these it is unknown what the disk holds (https://www.sqlite.org/rescode.html); a full disk is none."""


def connect(path: Path, *, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """A connection as this program wants it. Transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


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
        return self._connection.execute(statement.text, parameters)

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


class _Spoilt(Exception):
    """A work has raised after it had written, among others in one transaction."""


class SqliteDatabase(Database):
    """A database file on a disk of this machine, which other processes may write to as well."""

    dialect = Dialect.SQLITE

    def __init__(
        self,
        path: Path,
        on_fatal: Callable[[BaseException], None] | None = None,
        *,
        busy_seconds: float = _BUSY_SECONDS,
    ) -> None:
        """`busy_seconds`: how long to wait for other servers that write to the file, and as long for other programs."""
        super().__init__(on_fatal)
        self._path = path
        self._busy_seconds = busy_seconds
        self._writes: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._reads: SimpleQueue[Job | None] = SimpleQueue()
        self._broken: BaseException | None = None
        self._told = False
        self._closed = False
        try:
            self._turns = Turns(path)
            self._writer = connect(path, busy_seconds=busy_seconds)
        except sqlite3.OperationalError as error:
            self._turns.close()
            raise unavailable(f"cannot open the database {path}: {error}") from error
        self._threads = [Thread(target=self._write_on, name="store-writer", daemon=True)]
        self._threads += [Thread(target=self._read_on, name="store-reader", daemon=True) for _ in range(_READERS)]
        for thread in self._threads:
            thread.start()

    def _check_open(self) -> None:
        if self._closed or self._broken:
            raise unavailable("the database is closed")
        if self._writes.qsize() + self._reads.qsize() >= QUEUE_LIMIT:
            raise unavailable("too much is waiting for the database")

    def _queue_writes(self, jobs: list[Job]) -> None:
        self._writes.put(jobs)

    def _queue_read(self, job: Job) -> None:
        self._reads.put(job)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._gathered:
            self._hand_over()
        self._writes.put(None)
        for _ in range(_READERS):
            self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._writer.close()
        self._turns.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _write_on(self) -> None:
        last = False
        while not last:
            batch, last = self._next_batch()
            if batch:
                self._commit(batch)
                self._settled(batch)
                self._tell_of_the_end(batch)

    def _next_batch(self) -> tuple[list[Job], bool]:
        """Whatever waits now, at least one; True with the last."""
        jobs = self._writes.get()
        batch: list[Job] = []
        while jobs is not None:
            batch += jobs
            if len(batch) >= _BATCH_LIMIT:
                return batch, False
            try:
                jobs = self._writes.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[Job]) -> None:
        try:
            self._turns.take(self._busy_seconds)
            try:
                self._run(batch, isolated=False)
            except _Spoilt:  # rare: most of what is refused is refused before it writes anything
                self._writer.execute("ROLLBACK")
                self._run(batch, isolated=True)
            self._writer.execute("COMMIT" if any(job.error is None for job in batch) else "ROLLBACK")
        except Exception as error:  # noqa: BLE001  whatever it is, the callers are waiting for it
            self._give_up(batch, error)
        finally:
            self._turns.give()  # a commit includes its checkpoint

    def _run(self, batch: list[Job], *, isolated: bool) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        for job in batch:
            wrote = self._attempt(job, isolated=isolated)
            if not self._writer.in_transaction:
                raise job.error or sqlite3.OperationalError("the transaction ended in the middle")
            if job.error is not None and wrote and not isolated and len(batch) > 1:
                raise _Spoilt

    def _attempt(self, job: Job, *, isolated: bool) -> bool:
        """Run one work. True if it wrote anything."""
        unit = SqliteUnit(self._writer, isolated=isolated)
        job.error = None
        try:
            job.result = job.work(unit)
            unit.finish()
            job.rings = unit.rings
        except Exception as error:  # noqa: BLE001  it belongs to the caller
            job.error, job.rings = self._explained(error), ()
            unit.undo()
        return unit.wrote

    def _give_up(self, batch: list[Job], error: Exception) -> None:
        """Nothing of the batch was committed."""
        explained = self._explained(error)
        if self._writer.in_transaction:
            self._rollback()
        for job in batch:
            job.error = job.error or explained
            job.rings = ()

    def _tell_of_the_end(self, jobs: list[Job]) -> None:
        if self._broken and not self._told:
            self._told = True
            self._fatal(jobs, self._broken)

    def _rollback(self) -> None:
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            _log.error("rollback failed", error=str(error))

    def _explained(self, error: Exception) -> Exception:
        """The error that the caller sees."""
        if isinstance(error, AgentVineError) or not isinstance(error, sqlite3.Error):
            return error
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _UNTRUSTWORTHY or code & 0xFF in _UNTRUSTWORTHY:
            self._broken = error
            _log.error("the disk cannot be trusted", path=str(self._path), error=str(error), code=code)
            return unavailable(f"the database failed: {error}", 5.0)
        if code & 0xFF in _PASSING:
            return unavailable(f"the database is not available: {error}")
        return error

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_on(self) -> None:
        connection = connect(self._path)
        connection.execute("PRAGMA query_only=ON")
        while (job := self._reads.get()) is not None:
            self._look(connection, job)
            self._settled([job])
            self._tell_of_the_end([job])
        connection.close()

    def _look(self, connection: sqlite3.Connection, job: Job) -> None:
        try:
            connection.execute("BEGIN")
            job.result = job.work(SqliteUnit(connection))
        except Exception as error:  # noqa: BLE001  it belongs to the caller
            job.error = self._explained(error)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
