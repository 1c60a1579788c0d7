"""Why nobody takes an order, on both databases: told for each task and for the queues, and gone with its cause."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from agentvine.cli.render import Screen
from agentvine.cli.sheet import draw
from agentvine.domain.key import Role, Scope
from agentvine.domain.model_limit import DEFAULT_ACCOUNT, ModelLimit
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import RepositorySettings
from agentvine.domain.task import Budget
from agentvine.domain.worker_types import WorkerType
from agentvine.store import model_limits
from agentvine.store.held_back import wanting
from agentvine.store.listings import Slice
from agentvine.testing.cast import REPOSITORY, Hand, a_task, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.administration import NewRepository, RepositoryChanges
from agentvine.wire.front_desk import FrontDesk


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path) as site:
        yield site


async def reasons(desk: FrontDesk, task_id: str) -> list[str]:
    """What the task is said to wait for; the queues say the same of it."""
    waits_for = (await desk.task(task_id)).waits_for
    in_queue = [one for held in (await desk.queue()).held_back for one in held.waits_for]
    assert [one for one in waits_for if one.reason != "slot"] == in_queue
    return [one.reason for one in waits_for]


async def worker(site: InProcessSite, name: str, *can: str, **scope: object) -> Hand:
    limited = Scope.model_validate({"role": Role.WORKER, **scope})
    return await a_worker(site, name, specializations=can, scope=limited)


async def test_each_lack_of_a_worker_is_told_until_there_is_one(site: InProcessSite) -> None:
    desk = await site.front_desk()
    task = await desk.submit(a_task(specializations=("gpu",), permission_level=PermissionLevel.AUTONOMOUS))
    assert await reasons(desk, task.id) == ["worker"]
    await worker(site, "wrk_low", permission_level=PermissionLevel.SUPERVISED)
    await worker(site, "wrk_else", repositories=("https://git.example/team/other.git",))
    assert await reasons(desk, task.id) == ["key"]
    await worker(site, "wrk_plain", repositories=(REPOSITORY,), worker_types=(WorkerType.TEST,))
    assert await reasons(desk, task.id) == ["capability"]
    able = await worker(site, "wrk_able", "gpu", "x")
    assert await reasons(desk, task.id) == []
    now = site.clock.now()
    limit = ModelLimit(account=DEFAULT_ACCOUNT, until=now + timedelta(hours=1), told_at=now, told_by=able.id, why="x")
    await site.database.write(lambda unit: model_limits.note(unit, limit))
    assert await reasons(desk, task.id) == ["model"]
    await desk.lift_model_limit(DEFAULT_ACCOUNT)
    await able.take_and_start()
    assert await reasons(desk, task.id) == [], "it is being worked on"
    second = await desk.submit(a_task(specializations=("gpu",)))
    assert await reasons(desk, second.id) == ["slot"]
    await desk.drain_worker(able.id)
    assert await reasons(desk, second.id) == ["capability"]
    after = await desk.submit(a_task(needs=(second.id,)))
    assert (await desk.task(after.id)).waits_for == (), "it is blocked, and that is said"


async def test_what_an_operator_says_of_its_repository_is_told(site: InProcessSite) -> None:
    desk, hand = await site.front_desk(), await worker(site, "wrk_one")
    await worker(site, "wrk_two")
    settings = RepositorySettings(repository=REPOSITORY, budget_per_day_usd=6.0, concurrency=1)
    there = (await desk.add_repository(NewRepository(settings=settings))).repository
    running, waits = [await desk.submit(a_task(budget=Budget(usd=4), priority=-number)) for number in range(2)]
    claimed = await hand.take_and_start()
    assert claimed.task.id == running.id
    assert await reasons(desk, waits.id) == ["repository"]
    await desk.change_repository(there.id, RepositoryChanges(settings={"concurrency": 2}))
    assert await reasons(desk, waits.id) == ["budget"]
    page = io.StringIO()
    drawn = Console(file=page, width=300, color_system=None)
    draw(Screen(drawn, drawn), await desk.task(waits.id), site.clock.now())
    told = "its repository has cost 0.00 of 6.00 dollars today, and what runs may cost 4.00"
    assert f"waits for     {told}" in page.getvalue()
    stranger = await site.front_desk(Scope(role=Role.VIEWER, repositories=("https://git.example/team/other.git",)))
    assert (await stranger.queue()).held_back == ()
    await hand.complete(claimed, cost=1.0)
    assert await reasons(desk, waits.id) == []
    await hand.complete(await hand.take_and_start(), cost=5.0)
    late = await desk.submit(a_task())
    (why,) = (await desk.task(late.id)).waits_for
    assert "6.00 of 6.00" in why.detail and "after midnight" in why.detail
    site.clock.advance(86_400)
    assert await reasons(desk, late.id) == []


async def test_what_is_behind_one_that_the_day_does_not_cover_is_told(site: InProcessSite) -> None:
    desk, hand = await site.front_desk(), await worker(site, "wrk_one")
    await worker(site, "wrk_two")
    settings = RepositorySettings(repository=REPOSITORY, budget_per_day_usd=10.0)
    await desk.add_repository(NewRepository(settings=settings))
    await desk.submit(a_task(budget=Budget(usd=4)))
    running = await hand.take_and_start()
    big = await desk.submit(a_task(budget=Budget(usd=10), priority=9))
    behind = [await desk.submit(a_task(budget=Budget(usd=1), queue=queue)) for queue in ("default", "low_priority")]
    assert await hand.claim() is None
    for task in (big, *behind):
        assert [one.reason for one in (await desk.task(task.id)).waits_for] == ["budget"]
    assert [held.orders for held in (await desk.queue()).held_back] == [3]
    before = await desk.submit(a_task(budget=Budget(usd=1), queue="high_priority"))
    assert (await desk.task(before.id)).waits_for == ()
    await desk.cancel(before.id)
    await hand.complete(running, cost=1.0)
    assert await reasons(desk, behind[0].id) == []


async def test_a_key_for_one_repository_is_told_of_that_however_much_others_wait_for(site: InProcessSite) -> None:
    desk = await site.front_desk()
    for number in range(3):
        await desk.submit(a_task(repository=f"https://git.example/team/{number}.git"))
    part = Slice(50, repositories=("https://git.example/team/2.git",), types=("test",))
    found = await site.database.read(lambda unit: wanting(unit, part, 1))
    assert [one.repository for one in found] == ["https://git.example/team/2.git"]
    assert await site.database.read(lambda unit: wanting(unit, replace(part, types=("docs",)), 1)) == []
