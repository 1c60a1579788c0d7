"""Who gets which order."""

import asyncio

import pytest

from agentvine.domain.errors import Conflict, Forbidden, LeaseLost, Unauthenticated
from agentvine.domain.execution import Outcome
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import Budget, TaskStatus
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import REPOSITORY, a_task, a_worker
from agentvine.testing.site import Site
from agentvine.wire import messages as m


class Claims:
    async def test_nothing_to_claim(self, site: Site) -> None:
        worker = await a_worker(site)
        assert await worker.claim() is None

    async def test_a_claim_brings_all_that_is_needed(self, site: Site) -> None:
        desk = await site.front_desk()
        task = await desk.submit(a_task(description="ünïcode \u202e and emoji 🌱", budget=Budget(usd=3)))
        worker = await a_worker(site)
        claimed = await worker.take()
        assert claimed.task.asked == task.asked
        assert claimed.task.id == task.id
        assert claimed.task.status is TaskStatus.RUNNING
        assert claimed.order.status is OrderStatus.RUNNING
        assert (claimed.order.attempts, claimed.lease.token, claimed.order.lease_token) == (1, 1, 1)
        assert claimed.lease.worker_id == worker.id
        assert (claimed.lease.expires_at - site.clock.now()).total_seconds() == site.terms.claim_ack_seconds
        assert claimed.lease_seconds == site.terms.lease_seconds
        assert claimed.budget_left_usd == 3
        assert claimed.earlier is None
        assert (await desk.work_order(claimed.order.id)) == claimed.order
        assert (await desk.execution(claimed.lease.execution_id)).outcome is None

    async def test_each_order_is_handed_out_once(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task())
        first, second = await a_worker(site, "wrk_a"), await a_worker(site, "wrk_b")
        await first.take()
        assert await second.claim() is None

    async def test_only_its_own_type(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task(type=TaskType.DOCS))
        assert await (await a_worker(site)).claim() is None
        assert await (await a_worker(site, "wrk_docs", TaskType.DOCS)).claim()

    async def test_queue_then_priority_then_age(self, site: Site) -> None:
        desk = await site.front_desk()
        for title, queue, priority in (
            ("5", "default", 0),
            ("6", "low_priority", 100),
            ("3", "default", 7),
            ("2", "high_priority", -5),
            ("4", "default", 7),
            ("1", "high_priority", 0),
        ):
            await desk.submit(a_task(title, queue=queue, priority=priority))
            site.clock.advance(0.001)
        worker = await a_worker(site)
        assert [(await worker.take()).task.asked.title for _ in range(6)] == ["1", "2", "3", "4", "5", "6"]

    async def test_queues_in_the_order_that_the_worker_names(self, site: Site) -> None:
        desk = await site.front_desk()
        for queue in ("high_priority", "default", "low_priority"):
            await desk.submit(a_task(queue, queue=queue))
        worker = await a_worker(site)
        assert (await worker.take(queue_names=("low_priority", "default"))).task.asked.title == "low_priority"
        assert (await worker.take(queue_names=("low_priority", "default"))).task.asked.title == "default"
        assert await worker.claim(queue_names=("low_priority", "default")) is None

    async def test_a_claim_sent_again_gets_the_same_order(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task())
        await desk.submit(a_task())
        worker = await a_worker(site)
        ask = worker.claim_request()
        first, again = await worker.plane.claim(ask), await worker.plane.claim(ask)
        assert first is not None
        assert again == first
        assert (await desk.queue()).totals[OrderStatus.PENDING] == 1

    async def test_an_execution_id_is_used_once(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task())
        await desk.submit(a_task())
        worker, other = await a_worker(site), await a_worker(site, "wrk_other")
        ask = worker.claim_request()
        claimed = await worker.plane.claim(ask)
        assert claimed is not None
        with pytest.raises(Conflict):
            await other.claim(execution_id=ask.execution_id)
        await worker.complete(claimed)
        with pytest.raises(LeaseLost):
            await worker.plane.claim(ask)

    async def test_a_worker_speaks_for_itself_only(self, site: Site) -> None:
        worker, other = await a_worker(site), await a_worker(site, "wrk_other")
        with pytest.raises(Forbidden):
            await other.claim(worker_id=worker.id)
        with pytest.raises(Forbidden):
            await worker.claim(worker_id="wrk_nobody")

    async def test_specializations_are_required(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task("needs both", specializations=("rust", "fastapi"), priority=9))
        await desk.submit(a_task("needs one", specializations=("rust",), priority=8))
        await desk.submit(a_task("needs none"))
        plain = await a_worker(site, "wrk_plain")
        rust = await a_worker(site, "wrk_rust", specializations=("rust", "pytest"))
        both = await a_worker(site, "wrk_both", specializations=("fastapi", "pytest", "rust"))
        assert (await plain.take()).task.asked.title == "needs none"
        assert await plain.claim() is None
        assert (await rust.take()).task.asked.title == "needs one"
        assert (await both.take()).task.asked.title == "needs both"

    async def test_a_repository_runs_so_many_at_once(self, site: Site) -> None:
        desk = await site.front_desk()
        limit = site.terms.repository_concurrency
        for number in range(limit + 2):
            await desk.submit(a_task(str(number), priority=9))
            site.clock.advance(0.001)
        await desk.submit(a_task("elsewhere", repository="https://git.example/team/other.git"))
        worker = await a_worker(site)
        running = [await worker.take() for _ in range(limit)]
        assert (await worker.take()).task.asked.title == "elsewhere"
        assert await worker.claim() is None
        await worker.complete(running[0])
        assert (await worker.take()).task.asked.title == str(limit)
        assert await worker.claim() is None

    async def test_permission_level_of_the_key(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task("high", permission_level=PermissionLevel.AUTONOMOUS))
        await desk.submit(a_task("low", permission_level=PermissionLevel.HUMAN_REQUIRED))
        scope = Scope(role=Role.WORKER, permission_level=PermissionLevel.SUPERVISED)
        worker = await a_worker(site, scope=scope)
        assert (await worker.take()).task.asked.title == "low"
        assert await worker.claim() is None

    async def test_a_task_gets_no_higher_level_than_its_submitter(self, site: Site) -> None:
        scope = Scope(role=Role.MEMBER, permission_level=PermissionLevel.SUPERVISED)
        desk = await site.front_desk(scope)
        task = await desk.submit(a_task(permission_level=PermissionLevel.AUTONOMOUS))
        assert task.permission_level is PermissionLevel.SUPERVISED
        lower = await desk.submit(a_task(permission_level=PermissionLevel.HUMAN_REQUIRED))
        assert lower.permission_level is PermissionLevel.HUMAN_REQUIRED

    async def test_repositories_of_the_key(self, site: Site) -> None:
        desk = await site.front_desk()
        other = "https://git.example/team/other.git"
        await desk.submit(a_task("not its", priority=5))
        await desk.submit(a_task("its", repository=other))
        worker = await a_worker(site, scope=Scope(role=Role.WORKER, repositories=(other,)))
        assert (await worker.take()).task.asked.title == "its"
        assert await worker.claim() is None
        member = await site.front_desk(Scope(role=Role.MEMBER, repositories=(other,)))
        with pytest.raises(Forbidden):
            await member.submit(a_task(repository=REPOSITORY))

    async def test_types_of_the_key(self, site: Site) -> None:
        scope = Scope(role=Role.WORKER, worker_types=(TaskType.DOCS,))
        with pytest.raises(Forbidden):
            await a_worker(site, scope=scope)
        await a_worker(site, "wrk_docs", TaskType.DOCS, scope=scope)

    async def test_an_overspent_order_fails_instead(self, site: Site) -> None:
        desk = await site.front_desk()
        task = await desk.submit(a_task("dear", budget=Budget(usd=1), priority=5))
        await desk.submit(a_task("next"))
        worker = await a_worker(site)
        claimed = await worker.take()
        question = worker.question(claimed, expires_in_seconds=3600)
        await worker.park(claimed, question)
        await desk.respond(question.id, _answer())
        claimed = await worker.take()
        assert claimed.budget_left_usd == pytest.approx(0.75)
        assert (await worker.fail(claimed, FailureReason.MODEL_OVERLOADED, cost=2)).status is OrderStatus.FAILED
        order = (await desk.task(task.id)).order
        assert order.failure is not None
        assert order.failure.reason is FailureReason.BUDGET_EXCEEDED
        assert order.spent_usd == pytest.approx(2.25)
        await desk.retry(task.id)
        assert (await worker.take()).task.asked.title == "next"
        detail = await desk.task(task.id)
        assert detail.order.status is OrderStatus.FAILED
        assert detail.order.spent_usd == pytest.approx(2.25)
        assert [execution.outcome for execution in detail.executions] == [
            Outcome.PARKED,
            Outcome.FAILED,
            Outcome.FAILED,
        ]


class LongPolls:
    async def test_it_waits_in_vain(self, site: Site) -> None:
        worker = await a_worker(site)
        assert await worker.claim(wait_seconds=0.05) is None

    async def test_a_new_order_wakes_a_waiting_claim(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(worker.claim(wait_seconds=30))
            await desk.submit(a_task())
        assert waiting.result() is not None

    async def test_each_new_order_wakes_a_worker_that_can_take_it(self, site: Site) -> None:
        desk = await site.front_desk()
        plain = [await a_worker(site, f"wrk_{number}") for number in range(4)]
        rust = await a_worker(site, "wrk_rust", specializations=("rust",))
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = [group.create_task(worker.claim(wait_seconds=30)) for worker in [*plain, rust]]
            await desk.submit(a_task("rust", specializations=("rust",), priority=9))
            for number in range(4):
                await desk.submit(a_task(str(number)))
        claims = [task.result() for task in waiting]
        assert all(claims)
        assert len({claim.order.id for claim in claims if claim}) == 5

    async def test_a_waiting_claim_ends_with_its_key(self, site: Site) -> None:
        desk, worker, other = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_other")
        (its_key,) = [one.key_id for one in await desk.workers() if one.id == worker.id]
        async with asyncio.timeout(25):
            waiting = asyncio.ensure_future(worker.claim(wait_seconds=30))
            await asyncio.wait([waiting], timeout=0.1)
            second = asyncio.ensure_future(other.claim(wait_seconds=30))
            await asyncio.wait([second], timeout=0.1)
            await desk.revoke_key(its_key)
            await desk.submit(a_task())
            with pytest.raises(Unauthenticated):
                await waiting
            assert await second is not None

    async def test_a_waiting_claim_ends_when_its_worker_drains(self, site: Site) -> None:
        desk, worker, other = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_other")
        async with asyncio.timeout(25):
            waiting = asyncio.ensure_future(worker.claim(wait_seconds=30))
            await asyncio.wait([waiting], timeout=0.1)
            second = asyncio.ensure_future(other.claim(wait_seconds=30))
            await asyncio.wait([second], timeout=0.1)
            await desk.drain_worker(worker.id)
            await desk.submit(a_task())
            assert await waiting is None
            assert await second is not None

    async def test_an_answer_wakes_a_waiting_claim(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.park(claimed, question)
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(worker.claim(wait_seconds=30))
            await desk.respond(question.id, _answer())
        assert waiting.result() is not None

    async def test_room_in_a_full_repository_wakes_a_waiting_claim(self, site: Site) -> None:
        desk, worker, other = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_other")
        for number in range(site.terms.repository_concurrency + 1):
            await desk.submit(a_task(str(number)))
        running = [await worker.take() for _ in range(site.terms.repository_concurrency)]
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(other.claim(wait_seconds=30))
            await asyncio.wait([waiting], timeout=0.1)
            await worker.complete(running[0])
        assert waiting.result() is not None


def _answer() -> m.Reply:
    return m.Reply(verdict="answer", message="the left one")
