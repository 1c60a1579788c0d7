"""What SQLite's errors mean to callers, and whether the disk under a file can still be trusted."""

import sqlite3
from pathlib import Path

from agentvine.domain.errors import AgentVineError
from agentvine.kit.logs import logger
from agentvine.store.database import unavailable

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


class Disk:
    """The disk under a database file. `failed` is the error since which it is unknown what it holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failed: sqlite3.Error | None = None

    def explained(self, error: Exception) -> Exception:
        """The error that the caller of a work sees; what it says of the disk is noted."""
        if isinstance(error, AgentVineError) or not isinstance(error, sqlite3.Error):
            return error
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _UNTRUSTWORTHY or code & 0xFF in _UNTRUSTWORTHY:
            if self.failed is None:
                _log.error("the disk cannot be trusted", path=str(self._path), error=str(error), code=code)
            self.failed = error
            return unavailable(f"the database failed: {error}", 5.0)
        if code & 0xFF in _PASSING:
            return unavailable(f"the database is not available: {error}")
        return error

    def check(self) -> None:
        """Raises the error since which the disk cannot be trusted, if there was one."""
        if self.failed is not None:
            raise self.failed
