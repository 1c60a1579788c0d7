"""The writer that commits for many: nobody suffers for another, and nothing is acknowledged that is not kept."""

import asyncio
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from agentvine.domain.errors import Conflict, Unavailable
from agentvine.store.history import schema
from agentvine.store.sqlite import SqliteDatabase
from agentvine.store.sqlite_connection import connect
from agentvine.store.turns import Turns, lock_of
from agentvine.store.unit import Unit
from agentvine.testing.eventually import eventually
from agentvine.wire.channels import Ring

RING = Ring(kind="event")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    path = tmp_path / "a.db"
    with connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER NOT NULL DEFAULT 0)")
    connection.close()
    database = SqliteDatabase(path, busy_seconds=0.1)
    yield database
    await database.close()


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


@pytest.mark.parametrize("brief", [True, False])
async def test_one_that_fails_does_not_hurt_the_others(database: SqliteDatabase, brief: bool) -> None:
    rung: list[Ring] = []
    database.listen(rung.extend)
    works = [Work(f"{number:02}", Conflict("no") if number % 5 == 3 else None) for number in range(40)]
    results = [asyncio.ensure_future(database.write(work, brief=brief)) for work in works]
    await asyncio.wait(results)
    good = [work.name for work in works if work.error is None]
    assert await names(database) == good
    assert [result.result() for result in results if result.exception() is None] == good
    assert sum(isinstance(result.exception(), Conflict) for result in results) == len(works) - len(good)
    assert len(rung) == len(good)


async def test_a_statement_that_fails_is_its_works_own_affair(database: SqliteDatabase) -> None:
    results = [asyncio.ensure_future(database.write(Work(name))) for name in ("a", "b", "a", "c")]
    await asyncio.wait(results)
    assert await names(database) == ["a", "b", "c"]
    assert isinstance(results[2].exception(), sqlite3.IntegrityError)


async def test_what_was_acknowledged_is_there_after_a_crash(database: SqliteDatabase, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(database.write(Work(str(number))))
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        (tmp_path / f"copy.db{suffix}").write_bytes((tmp_path / f"a.db{suffix}").read_bytes())
    with connect(copy) as connection:
        assert connection.execute("SELECT COUNT(*) FROM things").fetchone()[0] == 20
    connection.close()


async def test_locked_by_another_process(database: SqliteDatabase, tmp_path: Path) -> None:
    other = connect(tmp_path / "a.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        await database.write(Work("a"))
    assert refused.value.facts["retry_after"]
    assert await names(database) == []
    other.execute("ROLLBACK")
    other.close()
    await database.write(Work("a"))
    assert await names(database) == ["a"]


async def test_whoever_else_writes_is_waited_for(database: SqliteDatabase, tmp_path: Path) -> None:
    """The fixture only made the file. Each waits longer than the other can take to finish, whatever the machine."""
    both = [SqliteDatabase(tmp_path / "a.db", busy_seconds=120.0) for _ in range(2)]
    wanted = [f"{number}-{turn:02}" for number in range(4) for turn in range(25)]

    async def one_after_the_other(number: int) -> None:
        for turn in range(25):
            await both[number % 2].write(Work(f"{number}-{turn:02}"))

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(one_after_the_other(number))
    assert await names(database) == wanted
    for one in both:
        await one.close()


async def test_a_turn_lasts_until_all_is_committed(database: SqliteDatabase, tmp_path: Path) -> None:
    """Nobody else of ours can have it while any statement runs, also when all are run again because of one."""
    turns, seen = Turns(tmp_path / "a.db"), Counter[str]()

    def look(statement: str) -> None:
        seen[statement.split()[0]] += 1
        with suppress(Unavailable):
            turns.take(0.0)
            turns.give()
            seen["free"] += 1

    database._writer._connection.set_trace_callback(look)
    works = [Work("a"), Work("b", Conflict("no")), Work("c")]
    results = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.wait(results)
    assert isinstance(results[1].exception(), Conflict)
    assert await names(database) == ["a", "c"]
    assert (seen["BEGIN"], seen["ROLLBACK"], seen["COMMIT"]) == (2, 2, 1)  # one rollback is to a savepoint
    assert not seen["free"]
    turns.take(0.0)
    turns.close()


async def test_who_writes_at_the_same_time_is_kept_out(database: SqliteDatabase, tmp_path: Path) -> None:
    """Also by another name of the file, and after somebody has removed the lock."""
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    for path in (tmp_path / "a.db", tmp_path / "link.db"):
        lock_of(path).unlink()
        await database.write(Work(path.name))
        other = Turns(path)
        other.take(0.0)
        with pytest.raises(Unavailable, match="another process"):
            await database.write(Work("late"))
        other.close()
    assert await names(database) == ["a.db", "link.db"]


@pytest.mark.parametrize("brief", [True, False])
async def test_a_lock_that_cannot_be_made_again_is_told(database: SqliteDatabase, tmp_path: Path, brief: bool) -> None:
    path = lock_of(tmp_path / "a.db")
    path.unlink()
    path.mkdir()
    with pytest.raises(Unavailable, match="cannot lock"):
        await database.write(Work("a"), brief=brief)
    path.rmdir()
    assert await database.write(Work("a"), brief=brief) == "a"


def test_what_root_makes_belongs_to_whose_database_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 65_534, 65_534)
    Turns(path).close()
    assert (lock_of(path).stat().st_uid, lock_of(path).stat().st_gid) == (path.stat().st_uid, path.stat().st_gid)


async def test_who_is_kept_waiting_too_long_is_told(database: SqliteDatabase, tmp_path: Path) -> None:
    turns = Turns(tmp_path / "a.db")
    turns.take(0.0)
    with pytest.raises(Unavailable, match="another process"):
        await database.write(Work("a"))
    looking = asyncio.create_task(asyncio.to_thread(schema, f"sqlite:///{tmp_path / 'a.db'}"))
    assert not (await asyncio.wait([looking], timeout=0.5))[0]  # whoever may change the schema waits as well
    assert await names(database) == []
    turns.close()
    assert await looking is None
    await database.write(Work("a"))
    assert await names(database) == ["a"]


async def test_another_server_may_add_columns(database: SqliteDatabase) -> None:
    async def first() -> Any:
        row = await database.read(lambda unit: unit.one("SELECT * FROM things"))
        rows = await database.read(lambda unit: unit.all("SELECT * FROM things"))
        assert rows == [row]
        return row

    await database.write(Work("a"))
    assert await first() == {"name": "a", "size": 0}
    await database.write(lambda unit: unit.run("ALTER TABLE things ADD COLUMN colour TEXT DEFAULT 'red'"))
    assert await first() == {"name": "a", "size": 0, "colour": "red"}


class Brief:
    """Says in which thread its statements ran, and takes `seconds` for it."""

    def __init__(self, database: SqliteDatabase, seconds: float = 0.0) -> None:
        self.database = database
        self.seconds = seconds
        self.threads: dict[str, int] = {}

    async def write(self, name: str, *, brief: bool = True) -> str:
        self.database._writer._connection.set_trace_callback(self._note)
        return await self.database.write(partial(self._work, name), brief=brief)

    def _work(self, name: str, unit: Unit) -> str:
        until = monotonic() + self.seconds
        while monotonic() < until:
            unit.one("SELECT 1")
        return Work(name)(unit)

    def _note(self, statement: str) -> None:
        self.threads[statement.split()[0]] = threading.get_ident()

    def here(self) -> set[str]:
        """The statements that the event loop's thread ran."""
        return {statement for statement, thread in self.threads.items() if thread == threading.get_ident()}


async def test_brief_works_run_in_the_loops_thread_and_are_committed_in_another(database: SqliteDatabase) -> None:
    works = Brief(database)
    await works.write("a")
    assert works.here() >= {"BEGIN", "INSERT"}
    assert "COMMIT" in works.threads.keys() - works.here()
    await works.write("b", brief=False)
    assert not works.here()
    async with asyncio.TaskGroup() as group:
        for name, brief in (("c", True), ("d", False), ("e", True)):
            group.create_task(works.write(name, brief=brief))
    assert not works.here()  # they are in one transaction
    assert await names(database) == ["a", "b", "c", "d", "e"]


async def test_the_loop_waits_for_nobody(database: SqliteDatabase, tmp_path: Path) -> None:
    """Neither for another server nor for another program, which may write as long as they like."""
    patient, works = SqliteDatabase(tmp_path / "a.db", busy_seconds=120.0), []
    turns, other = Turns(tmp_path / "a.db"), connect(tmp_path / "a.db")
    turns.take(0.0)
    works.append(asyncio.create_task(Brief(patient).write("a")))
    assert await names(database) == []
    turns.give()
    assert await works[0] == "a"
    other.execute("BEGIN IMMEDIATE")
    works.append(asyncio.create_task(Brief(patient).write("b")))
    assert await names(database) == ["a"]
    other.execute("ROLLBACK")
    assert await works[1] == "b"
    await patient.close()
    other.close()
    turns.close()


async def test_brief_works_that_are_not_lose_the_loops_trust(database: SqliteDatabase) -> None:
    slow = Brief(database, seconds=0.02)
    await slow.write("a")
    assert "INSERT" in slow.here()
    quick = Brief(database)
    await quick.write("b")
    assert not quick.here()


async def test_a_full_disk_passes(database: SqliteDatabase) -> None:
    def grow(unit: Unit) -> None:
        unit.run("INSERT INTO things (name) VALUES (:name)", name="x" * 1_000_000)

    await database.write(Work("before"))
    await database.write(lambda unit: unit.one("PRAGMA max_page_count = 10"))
    async with asyncio.TaskGroup() as group:
        attempts = [group.create_task(_outcome(database, grow)) for _ in range(3)]
    assert all(isinstance(attempt.result(), Unavailable) for attempt in attempts)
    assert await names(database) == ["before"]
    await database.write(lambda unit: unit.one("PRAGMA max_page_count = 1000000"))
    await database.write(grow)
    assert len(await names(database)) == 2


async def _outcome(database: SqliteDatabase, work: object) -> object:
    try:
        return await database.write(work)  # type: ignore[arg-type]
    except Unavailable as error:
        return error


async def test_a_damaged_file_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER NOT NULL DEFAULT 0)")
        connection.executemany("INSERT INTO things (name) VALUES (?)", [(f"{number:0500}",) for number in range(500)])
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xaa" * (len(content) - 8192)
    path.write_bytes(content)
    told: list[BaseException] = []
    database = SqliteDatabase(path, told.append)
    with pytest.raises(Unavailable):
        await database.write(lambda unit: unit.run("UPDATE things SET size = 1"))
    await eventually(lambda: told)
    with pytest.raises(Unavailable):
        await database.write(Work("more"))
    await database.close()


async def test_closing_finishes_what_is_queued(database: SqliteDatabase, tmp_path: Path) -> None:
    works = [Work(f"{number:03}") for number in range(200)]
    results = [asyncio.ensure_future(database.write(work, brief=number % 40 > 0)) for number, work in enumerate(works)]
    await asyncio.wait(results[:1])
    await database.close()
    assert [result.result() for result in results] == [work.name for work in works]
    with pytest.raises(Unavailable):
        await database.write(Work("late"))


async def test_reading_changes_nothing(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await database.read(Work("a"))
    assert await names(database) == []


async def test_a_caller_that_goes_away_stops_nobody(database: SqliteDatabase) -> None:
    rung: list[Ring] = []
    database.listen(rung.extend)
    gone = asyncio.ensure_future(database.write(Work("gone")))
    stays = asyncio.ensure_future(database.write(Work("stays")))
    await asyncio.wait([gone], timeout=0)
    gone.cancel()
    assert await stays == "stays"
    assert "stays" in await names(database)
    assert len(rung) == len(await names(database))
