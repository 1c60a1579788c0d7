"""Works that write to a database of their own, for tests of how databases run them."""

from pathlib import Path

from agentvine.store.sqlite import SqliteDatabase
from agentvine.store.sqlite_connection import connect
from agentvine.store.unit import Unit
from agentvine.wire.channels import Ring

RING = Ring(kind="event")


def a_file_of_things(folder: Path) -> Path:
    """A new database file that has a table for things."""
    path = folder / "a.db"
    with connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER NOT NULL DEFAULT 0)")
    connection.close()
    return path


class Work:
    """Writes a thing, rings, and then raises `error` if there is one."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error

    def __call__(self, unit: Unit) -> str:
        unit.run("INSERT INTO things (name) VALUES (:name)", name=self.name)
        unit.ring(RING)
        if self.error is not None:
            raise self.error
        return self.name


async def names(database: SqliteDatabase) -> list[str]:
    rows = await database.read(lambda unit: unit.all("SELECT name FROM things ORDER BY name"))
    return [row["name"] for row in rows]
