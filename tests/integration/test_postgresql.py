"""What only PostgreSQL can get wrong: commits that overlap, connections that break."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentvine.domain.errors import Unavailable
from agentvine.domain.event import EventKind
from agentvine.store import events
from agentvine.store.engine import Database, open_database
from agentvine.store.events import Fact
from agentvine.store.unit import Unit
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.clock import ManualClock
from agentvine.testing.site import in_process_site


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    database = open_database(postgresql_url)
    yield database
    await database.close()


async def test_a_reader_of_events_misses_none(database: Database, postgresql_url: str) -> None:
    """Writers on two servers, whose commits take their time after the numbers were drawn."""
    other = open_database(postgresql_url)
    now = ManualClock().now()
    total = 100

    def work(number: int) -> Callable[[Unit], None]:
        def write(unit: Unit) -> None:
            events.write(unit, Fact(EventKind.ORDER_CLAIMED, now, "server"))
            unit.run_in_order("SELECT pg_sleep(:seconds)", seconds=number % 7 / 500)
            events.write(unit, Fact(EventKind.ORDER_STARTED, now, "server"))

        return write

    async def read_all() -> set[int]:
        seen: set[int] = set()
        position = 0
        while position < total * 2:
            found = await database.read(lambda unit, at=position: events.after(unit, at, None, None, 50))
            seen |= {event.seq for event in found.events}
            position = found.position
        return seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        reading = group.create_task(read_all())
        for number in range(total):
            group.create_task((database if number % 2 else other).write(work(number)))
    assert reading.result() == set(range(1, total * 2 + 1))
    await other.close()


async def test_a_deadlock_is_nobodys_problem(database: Database) -> None:
    """Rows locked crosswise: the database kills one of the two, which is run again."""

    def insert(unit: Unit) -> None:
        for key in ("a", "b"):
            unit.run(
                """INSERT INTO submissions (key_id, idempotency_key, digest, task_id, created_at)
                   VALUES (:key, 'k', '', '', 0)""",
                key=key,
            )

    def count(first: str, second: str) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            for key in (first, second):
                unit.run("UPDATE submissions SET created_at = created_at + 1 WHERE key_id = :key", key=key)
                unit.one("SELECT pg_sleep(0.05)")

        return work

    await database.write(insert)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(database.write(count("a", "b")))
            group.create_task(database.write(count("b", "a")))
    rows = await database.read(lambda unit: unit.all("SELECT created_at FROM submissions"))
    assert [row["created_at"] for row in rows] == [4, 4]


async def test_broken_connections_are_replaced(database: Database) -> None:
    def break_all(unit: Unit) -> None:
        unit.all("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")

    async with asyncio.TaskGroup() as group:  # so that every thread has a connection
        for _ in range(12):
            group.create_task(database.read(lambda unit: unit.one("SELECT pg_sleep(0.02)")))
    with pytest.raises(Unavailable):
        await database.write(break_all)
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(database.read(lambda unit: unit.one("SELECT 1 AS one"))) for _ in range(12)]
    assert all(look.result() == {"one": 1} for look in looks)


async def test_a_server_that_is_not_there(postgresql_url: str) -> None:
    database = open_database("postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await database.read(lambda unit: unit.one("SELECT 1 AS one"))
    await database.close()


async def test_reading_changes_nothing(database: Database) -> None:
    with pytest.raises(Exception, match="read-only"):
        await database.read(lambda unit: unit.run("DELETE FROM events"))


async def test_no_task_waits_for_one_that_completes_meanwhile(postgresql_url: str, tmp_path: Path) -> None:
    """Submitted on one server in the very moment in which another completes what it needs."""
    async with in_process_site(postgresql_url, tmp_path) as one, in_process_site(postgresql_url, tmp_path) as two:
        desk, worker = await two.front_desk(), await a_worker(one)
        for _ in range(15):
            needed = await desk.submit(a_task())
            claimed = await worker.take_and_start()
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                late = [group.create_task(desk.submit(a_task(type="docs", needs=(needed.id,)))) for _ in range(3)]
                group.create_task(worker.complete(claimed))
                late += [group.create_task(desk.submit(a_task(type="docs", needs=(needed.id,)))) for _ in range(3)]
            for task in late:
                assert (await desk.task(task.result().id)).order.blocked_by == 0
