"""SQLite: works queue up, and one commit is made for all that wait at that moment; two threads read.

One durable commit costs one fsync, which a thread makes. While it runs, others queue up; the next commit takes them all
along. Where works are run depends on how long they take. To run a brief one in a thread would cost more than the work
itself: each statement gives the interpreter's lock away, and the event loop is there to take it. So brief ones run in
the event loop's thread, and nothing there waits for anybody: neither for the disk's word that a commit is durable, nor
for others that are writing.

Several processes of one machine may write to one file. They take turns (turns.py), a commit each.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic

from agentvine.domain.errors import Unavailable
from agentvine.store.database import QUEUE_LIMIT, Database, Job, unavailable
from agentvine.store.sqlite_connection import BUSY_SECONDS, SqliteUnit, opened
from agentvine.store.sqlite_disk import Disk
from agentvine.store.sqlite_writer import Writer
from agentvine.store.unit import Dialect

_BATCH_LIMIT = 32
_READERS = 2
_HERE_SECONDS = 0.05
"""So long works may hold up the event loop. If that is not enough they are not brief, whatever was said of them."""
_DISTRUST_SECONDS = 10.0
"""How long no work is taken for brief after that."""


class SqliteDatabase(Database):
    """A database file on a disk of this machine, which other processes may write to as well."""

    dialect = Dialect.SQLITE

    def __init__(
        self,
        path: Path,
        on_fatal: Callable[[BaseException], None] | None = None,
        *,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """`busy_seconds`: how long to wait for other servers that write to the file, and as long for other programs.

        Raises `Unavailable` if the file cannot be opened.
        """
        super().__init__(on_fatal)
        self._disk = Disk(path)
        self._writer = Writer(path, self._disk, busy_seconds)
        try:
            readers = [opened(path) for _ in range(_READERS)]
        except Unavailable:
            self._writer.close()
            raise
        self._loop: asyncio.AbstractEventLoop
        self._waiting: list[Job] = []
        self._under_way = False
        self._distrust_until = 0.0
        self._batches: SimpleQueue[tuple[list[Job], bool] | None] = SimpleQueue()
        self._reads: SimpleQueue[Job | None] = SimpleQueue()
        self._told = False
        self._closed = False
        self._threads = [Thread(target=self._write_on, name="store-writer", daemon=True)]
        self._threads += [
            Thread(target=self._read_on, args=(reader,), name="store-reader", daemon=True) for reader in readers
        ]
        for thread in self._threads:
            thread.start()

    def _check_open(self) -> None:
        if self._closed or self._disk.failed:
            raise unavailable("the database is closed")
        if len(self._waiting) + self._reads.qsize() >= QUEUE_LIMIT:
            raise unavailable("too much is waiting for the database")

    def _queue_writes(self, jobs: list[Job]) -> None:
        self._loop = asyncio.get_running_loop()  # before it looks: whoever has just committed tells this one to go on
        self._waiting += jobs
        self._go_on()

    def _queue_read(self, job: Job) -> None:
        self._reads.put(job)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._gathered:
            self._hand_over()
        while self._waiting:
            self._batches.put((self._next_batch(), False))
        self._batches.put(None)
        for _ in range(_READERS):
            self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._writer.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _go_on(self) -> None:
        """Begin with what waits, unless a batch is under way: it has the connection until it is committed."""
        if self._under_way or not self._waiting:
            return
        self._under_way = True
        batch = self._next_batch()
        self._batches.put((batch, self._run_here(batch)))

    def _next_batch(self) -> list[Job]:
        batch = self._waiting[:_BATCH_LIMIT]
        del self._waiting[:_BATCH_LIMIT]
        return batch

    def _run_here(self, batch: Sequence[Job]) -> bool:
        """Run it in the event loop's thread, if that does not hold up the loop. True if it has only to be committed."""
        began = monotonic()
        if began < self._distrust_until or not all(job.brief for job in batch):
            return False
        ran = self._writer.run_at_once(batch, _HERE_SECONDS)
        ended = monotonic()
        if ended - began > _HERE_SECONDS:
            self._distrust_until = ended + _DISTRUST_SECONDS
        return ran

    def _write_on(self) -> None:
        while (queued := self._batches.get()) is not None:
            batch, ran = queued
            if not ran:
                self._writer.run(batch)
            self._writer.commit(batch)
            self._under_way = False
            self._settled(batch)
            self._tell_of_the_end(batch)
            with suppress(RuntimeError):  # it is closed: nothing waits in it any more
                self._loop.call_soon_threadsafe(self._go_on_after_answers, self._loop)

    def _go_on_after_answers(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on two rounds later: in the first callers hear how their works ended, in the second they are answered."""
        loop.call_soon(loop.call_soon, self._go_on)

    def _tell_of_the_end(self, jobs: Sequence[Job]) -> None:
        if self._disk.failed and not self._told:
            self._told = True
            self._fatal(jobs, self._disk.failed)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_on(self, connection: sqlite3.Connection) -> None:
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
            job.error = self._disk.explained(error)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
