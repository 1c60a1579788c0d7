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

from agentvine.kit.file_lock import lock, open_lock, unlock
from agentvine.store.database import unavailable

_NAP_SECONDS = 0.0002
"""Between two tries. SQLite's own naps grow to 100 ms, in which another process commits fifty times."""


def lock_of(database: Path) -> Path:
    """The lock file of a database. Nothing is in it; without a server it may be removed."""
    return database.with_name(f"{database.name}-turns")


class Turns:
    """The lock beside a database file. For one thread."""

    def __init__(self, database: Path) -> None:
        """Raises `Unavailable` if there can be no such file, or no lock on it."""
        self._nap = Event()
        path = lock_of(database)
        try:
            self._handle = open_lock(path)
            lock(self._handle)
            unlock(self._handle)
        except OSError as error:
            raise unavailable(f"cannot lock {path}: {error.strerror}") from error

    def take(self, seconds: float) -> None:
        """Wait for the turn. Raises `Unavailable` if another process has had it for so long."""
        give_up = monotonic() + seconds
        while not lock(self._handle):
            if monotonic() >= give_up:
                raise unavailable("the database is not available: another process has been writing to it all along")
            self._nap.wait(_NAP_SECONDS)

    def give(self) -> None:
        """Let others have it; harmless if it was not had."""
        unlock(self._handle)

    def close(self) -> None:
        os.close(self._handle)
