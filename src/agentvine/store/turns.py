"""Who of several processes may write to an SQLite file just now.

SQLite has a lock for that itself, but not for what comes after a commit: a connection whose log has grown copies it
back (a checkpoint) while another one writes already. In nearly all versions before 3.51.3 two checkpoints, one on the
heels of the other, and a commit during the second can damage the file (https://www.sqlite.org/wal.html#walresetbug). So
whoever writes has its turn from before the transaction until after the checkpoint, and all others of ours wait for it.
"""

import os
from pathlib import Path
from threading import Event
from time import monotonic

from agentvine.kit.file_lock import is_at, lock, open_lock, unlock
from agentvine.store.database import unavailable

_NAP_SECONDS = 0.0002
"""Between two tries. SQLite's own naps grow to 100 ms, in which another process commits fifty times."""


def lock_of(database: Path) -> Path:
    """The lock file of a database, where SQLite has its log: beside the file that a link leads to.

    Nothing is in it. It may be removed while no server runs.
    """
    real = database.resolve()
    return real.with_name(f"{real.name}-turns")


class Turns:
    """The lock beside a database file. Not for two threads at the same time."""

    def __init__(self, database: Path) -> None:
        """Raises `Unavailable` if there can be no such file, or no lock on it."""
        self._nap = Event()
        self._path = lock_of(database)
        try:
            self._handle = open_lock(self._path)
            lock(self._handle)
            unlock(self._handle)
            _give_to_owner_of(database, self._handle)
        except OSError as error:
            raise unavailable(f"cannot lock {self._path}: {error.strerror}") from error

    def take(self, seconds: float) -> None:
        """Wait for the turn. Raises `Unavailable` if another process has had it for so long, or there is no lock."""
        give_up = monotonic() + seconds
        while not self._has_it():
            if monotonic() >= give_up:
                raise unavailable("the database is not available: another process has been writing to it all along")
            self._nap.wait(_NAP_SECONDS)

    def _has_it(self) -> bool:
        try:
            if not lock(self._handle):
                return False
            if is_at(self._path, self._handle):
                return True
            gone, self._handle = self._handle, open_lock(self._path)  # somebody removed it
        except OSError as error:
            raise unavailable(f"cannot lock {self._path}: {error.strerror}") from error
        os.close(gone)
        return False

    def give(self) -> None:
        """Let others have it; harmless if it was not had."""
        unlock(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def _give_to_owner_of(database: Path, handle: int) -> None:
    """What root makes when it only looks must not keep the server out. SQLite does so with its log, too."""
    if os.geteuid() == 0 and database.exists():
        owner = database.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)
