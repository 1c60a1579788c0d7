"""However many claim at once: every order goes to exactly one of them, and the best goes first (I6)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentvine.domain.event import Event, EventKind
from agentvine.domain.task import QUEUES
from agentvine.domain.work_order import OrderStatus
from agentvine.server.terms import Terms
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.databases import PostgresqlServer, sqlite_database
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.front_desk import FrontDesk

FreshUrl = Callable[[Path], str]
Wish = tuple[str, int]
WISHES = st.lists(st.tuples(st.sampled_from(QUEUES), st.integers(-2, 2)), min_size=1, max_size=24)
SERVERS = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest) -> FreshUrl:
    if request.param == "sqlite":
        return sqlite_database
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return lambda _: server.fresh_database()


@pytest.mark.parametrize("claimers", [2, 16])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(wishes=WISHES)
def test_each_order_has_one_taker(fresh_url: FreshUrl, claimers: int, wishes: list[Wish]) -> None:
    with TemporaryDirectory() as folder:
        url = fresh_url(Path(folder))
        taken, running, claims = asyncio.run(_claimed_all(url, Path(folder), claimers, wishes))
    assert Counter(taken) == Counter(range(len(wishes)))
    assert running == len(wishes)
    best_first = sorted(range(len(wishes)), key=lambda one: (QUEUES.index(wishes[one][0]), -wishes[one][1], one))
    at_once = 1 if url.startswith("sqlite") else claimers
    for place, number in enumerate(claims):
        assert abs(best_first.index(number) - place) < at_once, (claims, best_first)


async def _claimed_all(url: str, folder: Path, claimers: int, wishes: list[Wish]) -> tuple[list[int], int, list[int]]:
    """Who wanted them took them: as they say, how many are running then, and in which order they were claimed.

    Two servers on one database, so that its connections contend too, and workers on both.
    """
    async with AsyncExitStack() as stack:
        terms = Terms(repository_concurrency=1000)
        sites = [await stack.enter_async_context(in_process_site(url, folder, terms)) for _ in range(SERVERS)]
        desk = await sites[0].front_desk()
        for number, (queue, priority) in enumerate(wishes):
            await desk.submit(a_task(str(number), queue=queue, priority=priority))
            sites[0].clock.advance(0.001)
        hands = [await a_worker(sites[number % SERVERS], f"wrk_{number}") for number in range(claimers)]
        taken: list[int] = []
        async with asyncio.TaskGroup() as group:
            for hand in hands:
                group.create_task(_claim_all(hand, taken))
        assert len(taken) == len(wishes)
        running = (await desk.queue()).totals[OrderStatus.RUNNING]
        return taken, running, [int(title) for title in await _claimed_in_order(sites[0], desk, len(wishes))]


async def _claim_all(hand: Hand, taken: list[int]) -> None:
    misses = 0
    while misses < 2:  # on PostgreSQL one look may find all that is left in others' hands, which may yet let go of it
        claimed = await hand.claim()
        if claimed is None:
            misses += 1
        else:
            taken.append(int(claimed.task.asked.title))
            assert claimed.lease.token == 1


async def _claimed_in_order(site: InProcessSite, desk: FrontDesk, number: int) -> list[str]:
    told: list[Event] = []
    titles: dict[str, str] = {}
    async with asyncio.timeout(60):
        async for event in desk.events(after=0):
            if event.kind is EventKind.TASK_SUBMITTED and event.task_id:
                titles[event.task_id] = str(event.data["title"])
            if event.kind is EventKind.ORDER_CLAIMED:
                told.append(event)
            if len(told) == number:
                break
    return [titles[event.task_id or ""] for event in told]


async def test_the_limit_of_a_repository_holds_under_contention(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        terms = Terms(repository_concurrency=3)
        sites = [
            await stack.enter_async_context(in_process_site(database_url, tmp_path, terms)) for _ in range(SERVERS)
        ]
        desk = await sites[0].front_desk()
        for number in range(12):
            await desk.submit(a_task(str(number)))
        hands = [await a_worker(sites[number % SERVERS], f"wrk_{number}") for number in range(8)]
        async with asyncio.TaskGroup() as group:
            claims = [group.create_task(hand.claim()) for hand in hands]
        assert sum(claim.result() is not None for claim in claims) == 3
