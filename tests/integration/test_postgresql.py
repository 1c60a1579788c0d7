"""What only PostgreSQL can get wrong: commits that overlap, connections that break."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import Unavailable
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import SystemClock
from agentvine.store import events
from agentvine.store.engine import Database, open_database
from agentvine.store.events import Fact
from agentvine.store.unit import Unit
from agentvine.testing.cast import PUSHED, a_task, a_worker, registration, used
from agentvine.testing.clock import ManualClock
from agentvine.testing.databases import PostgresqlServer
from agentvine.testing.http import FIRST_KEY, new_key, server_on
from agentvine.testing.site import in_process_site
from agentvine.wire import messages as m

CLOCK = SystemClock()


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


ORDERS, WORKERS = 24, 4
SOON = Backoff(first=0.05, most=0.5)


async def work(desk: HTTPFrontDesk, plane: HTTPControlPlane, name: str) -> None:
    """Claim and complete until all is done."""
    await plane.register(registration(name))
    while (await desk.queue()).totals.get(OrderStatus.COMPLETED, 0) < ORDERS:
        ask = m.ClaimRequest(worker_id=name, execution_id=new_id("exe", CLOCK.now()), wait_seconds=0.5)
        claimed = await plane.claim(ask)
        if claimed is not None:
            token = claimed.lease.token
            await plane.start(claimed.order.id, m.Held(token=token))
            await plane.complete(claimed.order.id, m.Completion(token=token, delivery=PUSHED, usage=used(0.0)))


async def submit_and_break(desk: HTTPFrontDesk, url: str, postgresql: PostgresqlServer, database_url: str) -> set[str]:
    """Submit all, and in between do to the database what a night may bring."""
    tasks = set()
    for number in range(ORDERS):
        tasks.add((await desk.submit(a_task(str(number)), f"key-{number}")).id)
        if number % 4 == 3:
            await asyncio.to_thread(postgresql.break_connections, database_url)
        if number == ORDERS // 2:
            down = postgresql.stopped()
            await asyncio.to_thread(down.__enter__)
            try:
                async with APIClient(url, FIRST_KEY, patience=0) as hasty:
                    with pytest.raises(Unavailable):
                        await HTTPFrontDesk(hasty).queue()
            finally:
                await asyncio.to_thread(down.__exit__, None, None, None)
    return tasks


async def completions(desk: HTTPFrontDesk) -> Counter[str]:
    """How often each task was completed, once all are."""
    told: Counter[str] = Counter()
    async for event in desk.events(after=0):
        if event.kind is EventKind.ORDER_COMPLETED:
            told[event.task_id or ""] += 1
        if len(told) == ORDERS:
            break
    return told


async def test_work_goes_on_while_connections_break_and_the_database_restarts(
    postgresql: PostgresqlServer, postgresql_url: str, tmp_path: Path
) -> None:
    """The server is not restarted, and nobody hears anything worse than "try again later"."""
    statuses: Counter[int] = Counter()

    async def note(response: httpx.Response) -> None:
        statuses[response.status_code] += 1

    async with server_on(tmp_path, database_url=postgresql_url) as url, AsyncExitStack() as stack:
        keys = [FIRST_KEY, *[await new_key(url, Role.WORKER) for _ in range(WORKERS)]]
        clients = [await stack.enter_async_context(APIClient(url, key, patience=600, backoff=SOON)) for key in keys]
        for client in clients:
            client.http.event_hooks["response"].append(note)
        desk = HTTPFrontDesk(clients[0])
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients[1:]):
                group.create_task(work(desk, HTTPControlPlane(client), f"wrk_{number}"))
            submitting = group.create_task(submit_and_break(desk, url, postgresql, postgresql_url))
        assert await completions(desk) == Counter(submitting.result())
    assert set(statuses) <= {200, 201, 204, 503}, statuses
