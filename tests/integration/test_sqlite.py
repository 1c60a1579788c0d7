"""The writer that commits for many: nobody suffers for another, and nothing is acknowledged that is not kept."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
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
from tests.integration.things import Work, a_file_of_things, names


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(a_file_of_things(tmp_path), busy_seconds=0.1)
    yield database
    await database.close()


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


@pytest.mark.parametrize("brief", [True, False])
async def test_one_alone_that_fails_leaves_nothing(database: SqliteDatabase, brief: bool) -> None:
    rung: list[Ring] = []
    database.listen(rung.extend)
    for error, told in ((Conflict("no"), Conflict), (StopIteration(), RuntimeError)):
        with pytest.raises(told):
            await database.write(Work("a", error), brief=brief)
    assert await names(database) == []
    assert not rung


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize(
    "statement",
    ["ROLLBACK", "INSERT INTO parts (thing) VALUES ('missing')"],
    ids=["one ends the transaction", "the commit is refused"],
)
async def test_what_is_not_committed_is_not_acknowledged(database: SqliteDatabase, statement: str, brief: bool) -> None:
    rung: list[Ring] = []
    database.listen(rung.extend)
    table = "CREATE TABLE parts (thing TEXT REFERENCES things (name) DEFERRABLE INITIALLY DEFERRED)"
    await database.write(lambda unit: unit.run(table))
    works: list[Callable[[Unit], object]] = [Work("a"), lambda unit: unit.run(statement), Work("b")]
    results = [asyncio.ensure_future(database.write(work, brief=brief)) for work in works]
    await asyncio.wait(results)
    assert [result.exception() is None for result in results] == [False, False, False]
    assert not rung
    assert await names(database) == []
    assert await database.write(Work("c"), brief=brief) == "c"
    assert await names(database) == ["c"]


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


@pytest.mark.parametrize("brief", [True, False])
async def test_a_turn_lasts_until_all_is_committed(database: SqliteDatabase, tmp_path: Path, brief: bool) -> None:
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
    results = [asyncio.ensure_future(database.write(work, brief=brief)) for work in works]
    await asyncio.wait(results)
    assert isinstance(results[1].exception(), Conflict)
    assert await names(database) == ["a", "c"]
    tries = 3 if brief else 2  # in the loop, in the thread, and there behind savepoints
    assert (seen["BEGIN"], seen["ROLLBACK"], seen["COMMIT"]) == (tries, tries, 1)  # one rollback is to a savepoint
    await database.write(Work("d"), brief=brief)
    assert (seen["BEGIN"], seen["COMMIT"]) == (tries + 1, 2)
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


@pytest.mark.parametrize("brief", [True, False])
async def test_a_full_disk_passes(database: SqliteDatabase, brief: bool) -> None:
    def grow(unit: Unit) -> None:
        unit.run("INSERT INTO things (name) VALUES (:name)", name="x" * 1_000_000)

    await database.write(Work("before"))
    await database.write(lambda unit: unit.one("PRAGMA max_page_count = 10"))
    async with asyncio.TaskGroup() as group:
        attempts = [group.create_task(_outcome(database, grow, brief)) for _ in range(3)]
    assert all(isinstance(attempt.result(), Unavailable) for attempt in attempts)
    assert await names(database) == ["before"]
    await database.write(lambda unit: unit.one("PRAGMA max_page_count = 1000000"))
    await database.write(grow)
    assert len(await names(database)) == 2


async def _outcome(database: SqliteDatabase, work: object, brief: bool) -> object:
    try:
        return await database.write(work, brief=brief)  # type: ignore[arg-type]
    except Unavailable as error:
        return error


@pytest.mark.parametrize("brief", [True, False])
async def test_a_damaged_file_ends_it(tmp_path: Path, brief: bool) -> None:
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
        await database.write(lambda unit: unit.run("UPDATE things SET size = 1"), brief=brief)
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
