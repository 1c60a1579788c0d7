"""Brief works run in the event loop's thread, and hold it up for nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from agentvine.domain.errors import Conflict, Unavailable
from agentvine.store.sqlite import SqliteDatabase
from agentvine.store.sqlite_connection import connect
from agentvine.store.turns import Turns
from agentvine.store.unit import Unit
from agentvine.testing.eventually import eventually
from tests.integration.things import Work, a_file_of_things, names


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(a_file_of_things(tmp_path), busy_seconds=0.1)
    yield database
    await database.close()


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
    slow = Brief(database, seconds=0.06)
    await slow.write("a")
    assert "INSERT" in slow.here()
    quick = Brief(database)
    await quick.write("b")
    assert not quick.here()


async def test_what_takes_too_long_together_is_taken_back_and_run_in_the_thread(database: SqliteDatabase) -> None:
    slow = Brief(database, seconds=0.06)
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(slow.write(name))
    assert not slow.here() & {"BEGIN", "INSERT", "COMMIT"}
    assert "ROLLBACK" in slow.here()
    assert await names(database) == ["a", "b", "c"]


class Held:
    """Holds up the commits of a database, in the writer's thread, until they may go on."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.reached = threading.Event()
        self.goes_on = threading.Event()
        database._writer._connection.set_trace_callback(self._look)

    def _look(self, statement: str) -> None:
        if statement == "COMMIT":
            self.reached.set()
            self.goes_on.wait(60)


async def test_nothing_begins_while_something_is_being_committed(database: SqliteDatabase) -> None:
    held = Held(database)
    first = asyncio.create_task(database.write(Work("a"), brief=True))
    await eventually(held.reached.is_set)
    begun: list[Unit] = []
    second = asyncio.create_task(database.write(begun.append, brief=True))
    for _ in range(5):  # a look takes the loop round several times
        assert await names(database) == []
    assert not begun
    held.goes_on.set()
    assert await first == "a"
    await second
    assert begun
    assert await names(database) == ["a"]


def test_a_loop_that_ends_meanwhile_stops_nobody(tmp_path: Path) -> None:
    made: list[tuple[SqliteDatabase, Held]] = []

    async def begin() -> None:
        database = SqliteDatabase(a_file_of_things(tmp_path))
        made.append((database, Held(database)))
        left = asyncio.create_task(database.write(Work("a"), brief=True))
        await eventually(made[0][1].reached.is_set)
        assert not left.done()

    async def go_on() -> None:
        database, held = made[0]
        held.goes_on.set()
        async with asyncio.timeout(30):
            assert await database.write(Work("b"), brief=True) == "b"
        assert await names(database) == ["a", "b"]
        await database.close()

    asyncio.run(begin())
    asyncio.run(go_on())


async def test_a_listener_that_raises_stops_nobody(database: SqliteDatabase) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    def announce(rings: object) -> None:
        raise Conflict("no")

    database.listen(announce)
    assert [await database.write(Work(name), brief=True) for name in "ab"] == ["a", "b"]
    assert [type(error) for error in told] == [Conflict, Conflict]


@pytest.mark.parametrize("brief", [True, False])
async def test_a_folder_that_is_away_for_a_while_is_told(tmp_path: Path, brief: bool) -> None:
    folder, elsewhere = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    database = SqliteDatabase(a_file_of_things(folder))
    folder.rename(elsewhere)
    folder.write_text("no folder")
    with pytest.raises(Unavailable, match="cannot lock"):
        await database.write(Work("a"), brief=brief)
    folder.unlink()
    elsewhere.rename(folder)
    assert await database.write(Work("a"), brief=brief) == "a"
    await database.close()
