"""The one connection of a process that writes to an SQLite file: many works in a transaction, a commit for all of them.

One work that is refused does not hurt the others: if it had written something, all are run again, each behind a
savepoint of its own.
"""

import sqlite3
from collections.abc import Sequence
from math import inf
from pathlib import Path
from time import monotonic

from agentvine.domain.errors import Unavailable
from agentvine.kit.logs import logger
from agentvine.store.database import Job
from agentvine.store.sqlite_connection import SqliteUnit, opened
from agentvine.store.sqlite_disk import Disk
from agentvine.store.turns import Turns

_log = logger("store")


class _Spoilt(Exception):
    """A work has raised after it had written, among others in one transaction, or has taken the transaction along. Or
    there is no time left for the rest."""


class Writer:
    """Runs works, then commits them. Not for two threads at the same time."""

    def __init__(self, path: Path, disk: Disk, busy_seconds: float) -> None:
        """`busy_seconds`: how long to wait for other servers that write to the file, and as long for other programs.

        Raises `Unavailable` if the file cannot be opened.
        """
        self._disk = disk
        self._busy_seconds = self._patience = busy_seconds
        self._turns = Turns(path)
        try:
            self._connection = opened(path, busy_seconds)
        except Unavailable:
            self._turns.close()
            raise

    def close(self) -> None:
        self._connection.close()
        self._turns.close()

    def run_at_once(self, jobs: Sequence[Job], seconds: float) -> bool:
        """Run works in a transaction without waiting for anybody; the commit is left to `commit`.

        False, and nothing has happened, if others are writing, it did not go smoothly, or after so many seconds not all
        had begun.
        """
        give_up = monotonic() + seconds
        try:
            self._begin(0.0)
            self._run(jobs, isolated=False, begin_until=give_up)
        except Exception as error:  # noqa: BLE001  whatever it is, `run` meets it again, and tells the callers
            self._disk.explained(error)
            self._rollback()
            self._turns.give()
            return False
        return True

    def run(self, jobs: Sequence[Job]) -> None:
        """Run works in a transaction; the commit is left to `commit`. What goes wrong is noted with each."""
        try:
            self._begin(self._busy_seconds)
            try:
                self._run(jobs, isolated=False)
            except _Spoilt:  # rare: most of what is refused is refused before it writes anything
                self._rollback()
                self._begin(self._busy_seconds)
                self._run(jobs, isolated=True)
        except Exception as error:  # noqa: BLE001  whatever it is, the callers are waiting for it
            self._give_up(jobs, error)

    def commit(self, jobs: Sequence[Job]) -> None:
        """Commit what was run, then let others write. What goes wrong is noted with each."""
        try:
            self._disk.check()
            if any(job.error is None for job in jobs):
                self._connection.execute("COMMIT")
            elif self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001  whatever it is, the callers are waiting for it
            self._give_up(jobs, error)
        finally:
            self._turns.give()  # a commit includes its checkpoint

    def _begin(self, seconds: float) -> None:
        self._disk.check()
        self._turns.take(seconds)
        if self._patience != seconds:
            self._connection.execute(f"PRAGMA busy_timeout={seconds * 1000:.0f}")
            self._patience = seconds
        if self._connection.in_transaction:  # the last one could not be rolled back
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN IMMEDIATE")

    def _run(self, jobs: Sequence[Job], *, isolated: bool, begin_until: float = inf) -> None:
        for job in jobs:
            if monotonic() > begin_until:
                raise _Spoilt
            wrote = self._attempt(job, isolated=isolated)
            ended = not self._connection.in_transaction
            if ended and isolated:
                raise job.error or sqlite3.OperationalError("the transaction ended in the middle")
            if ended or (job.error is not None and wrote and not isolated and len(jobs) > 1):
                raise _Spoilt

    def _attempt(self, job: Job, *, isolated: bool) -> bool:
        """Run one work. True if it wrote anything."""
        unit = SqliteUnit(self._connection, isolated=isolated)
        job.error = None
        try:
            job.result = job.work(unit)
            unit.finish()
            job.rings = unit.rings
        except Exception as error:  # noqa: BLE001  it belongs to the caller
            job.error, job.rings = self._disk.explained(error), ()
            unit.undo()
        return unit.wrote

    def _give_up(self, jobs: Sequence[Job], error: Exception) -> None:
        """Nothing of this was or will be committed."""
        explained = self._disk.explained(error)
        self._rollback()
        for job in jobs:
            job.error = job.error or explained
            job.rings = ()

    def _rollback(self) -> None:
        if not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._disk.explained(error)
            _log.error("rollback failed", error=str(error))
