"""PostgreSQL (14 or newer): a few threads with a connection each, READ COMMITTED with row locks, psycopg 3.

What is hard here: commits overlap. Two rules answer it. Rows that will change are locked when they are read (`FOR
NO KEY UPDATE`, which lets others insert rows that refer to them). And whatever draws a number that readers follow (an
event's) does so at the end of its transaction, under one lock that is held until the commit: whoever has read up to
number n has then missed nothing below it.
"""

import asyncio
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Event, Thread

import psycopg
from psycopg.rows import DictRow, dict_row

from agentvine.kit.backoff import Backoff
from agentvine.kit.logs import logger
from agentvine.store.database import QUEUE_LIMIT, Database, Job, unavailable
from agentvine.store.unit import Cursor, Dialect, Stale, Unit, for_psycopg

_THREADS = 6
_TRIES = 8
_ORDER_LOCK = 0x6167_656E_7476  # any number, the same in every server process
_AGAIN = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, Stale)
_log = logger("store")

_Connection = psycopg.Connection[DictRow]


class PostgresqlUnit(Unit):
    dialect = Dialect.POSTGRESQL

    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self._connection = connection

    def _execute(self, sql: str, parameters: Mapping[str, object]) -> Cursor:
        # The text was written in this package, with its values apart; the driver wants a literal.
        return self._connection.execute(for_psycopg(sql).text, parameters)  # type: ignore[arg-type, call-overload, no-any-return, unused-ignore]

    def finish(self) -> None:
        """The work has returned."""
        if self.last:
            self.one("SELECT pg_advisory_xact_lock(:number)", number=_ORDER_LOCK)
            for sql, parameters in self.last:
                self._execute(sql, parameters)


class PostgresqlDatabase(Database):
    """A database on a server; several processes may use it at once."""

    dialect = Dialect.POSTGRESQL

    def __init__(self, url: str, on_fatal: Callable[[BaseException], None] | None = None) -> None:
        super().__init__(on_fatal)
        self._url = url
        self._jobs: SimpleQueue[tuple[Job, bool] | None] = SimpleQueue()
        self._backoff = Backoff(first=0.005, most=0.2)
        self._closed = False
        self._stopped = Event()
        self._threads = [
            Thread(target=self._work_on, name=f"store-{number}", daemon=True) for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def _check_open(self) -> None:
        if self._closed:
            raise unavailable("the database is closed")
        if self._jobs.qsize() >= QUEUE_LIMIT:
            raise unavailable("too much is waiting for the database")

    def _queue_writes(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._jobs.put((job, True))

    def _queue_read(self, job: Job) -> None:
        self._jobs.put((job, False))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._gathered:
            self._hand_over()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work_on(self) -> None:
        connection: _Connection | None = None
        while (queued := self._jobs.get()) is not None:
            job, writes = queued
            try:
                connection = self._begun(connection, writes)
                connection = self._carry_out(connection, job, writes)
            except psycopg.OperationalError as error:
                _log.warning("connection lost", error=str(error).strip())
                job.error, job.rings = unavailable("the database cannot be reached"), ()
                _drop(connection)
                connection = None
            except Exception as error:  # noqa: BLE001  it belongs to the caller
                job.error, job.rings = error, ()
                connection = _rolled_back(connection)
            self._settled([job])
        _drop(connection)

    def _begun(self, connection: _Connection | None, writes: bool) -> _Connection:
        """A connection with a transaction begun; one that broke while idle is replaced."""
        if connection is not None:
            try:
                _begin(connection, writes)
            except psycopg.OperationalError:
                _drop(connection)
            else:
                return connection
        connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=5)
        _begin(connection, writes)
        return connection

    def _carry_out(self, connection: _Connection, job: Job, writes: bool) -> _Connection:
        attempt = 1
        while True:
            unit = PostgresqlUnit(connection)
            try:
                job.result = job.work(unit)
                unit.finish()
                connection.execute("COMMIT")
            except _AGAIN as error:
                connection.execute("ROLLBACK")
                if attempt == _TRIES:
                    raise unavailable("too many others changed the same rows") from error
                self._stopped.wait(self._backoff.delay(attempt))
                attempt += 1
                _begin(connection, writes)
            else:
                job.rings = unit.rings
                return connection


def _begin(connection: _Connection, writes: bool) -> None:
    connection.execute("BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _rolled_back(connection: _Connection | None) -> _Connection | None:
    if connection is None:
        return None
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        _drop(connection)
        return None
    return connection


def _drop(connection: _Connection | None) -> None:
    if connection is not None:
        connection.close()
