"""How an execution ends, and what becomes of its order."""

import pytest

from agentvine.domain.errors import Conflict, LeaseLost
from agentvine.domain.execution import Outcome
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import TaskStatus
from agentvine.domain.work_order import OrderStatus
from agentvine.testing.cast import ELSEWHERE, HEAD, PUSHED, a_task, a_worker, until_due
from agentvine.testing.site import Site


class Endings:
    async def test_completed(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        order = await worker.complete(claimed, cost=0.5)
        assert (order.status, order.lease, order.spent_usd) == (OrderStatus.COMPLETED, None, 0.5)
        detail = await desk.task(task.id)
        assert detail.task.status is TaskStatus.COMPLETED
        assert detail.summary == "I did it."
        (execution,) = detail.executions
        assert (execution.outcome, execution.delivery, execution.head_sha) == (Outcome.COMPLETED, PUSHED, HEAD)
        assert execution.usage.cost_usd == 0.5
        assert await worker.claim() is None

    async def test_the_first_completion_stands(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        order = await worker.complete(claimed, cost=0.5)
        assert await worker.complete(claimed, cost=0.5) == order
        with pytest.raises(Conflict):
            await worker.complete(claimed, ELSEWHERE)
        with pytest.raises(Conflict):
            await worker.fail(claimed)
        with pytest.raises(Conflict):
            await worker.release(claimed)
        assert await desk.work_order(order.id) == order

    async def test_a_failure_that_may_pass_is_tried_again_later(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        order = await worker.fail(claimed, cost=0.25)
        assert order.status is OrderStatus.PENDING
        assert order.not_before is not None
        assert order.not_before > site.clock.now()
        assert await worker.fail(claimed, cost=0.25) == order
        assert await worker.claim() is None
        await until_due(site, order)
        again = await worker.take()
        assert (again.lease.token, again.order.attempts) == (2, 2)
        assert again.budget_left_usd == pytest.approx(4.75)
        assert again.earlier is not None
        assert again.earlier.execution.failure is not None
        assert again.earlier.execution.failure.detail == "it broke"
        assert not again.earlier.verified

    async def test_attempts_are_used_up(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task(max_attempts=2))
        order = await worker.fail(await worker.take_and_start())
        assert order.status is OrderStatus.PENDING
        await until_due(site, order)
        order = await worker.fail(await worker.take_and_start())
        assert (order.status, order.charged) == (OrderStatus.FAILED, 2)

    async def test_overload_uses_up_no_attempt(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task(max_attempts=1))
        for _ in range(3):
            order = await worker.fail(await worker.take_and_start(), FailureReason.MODEL_OVERLOADED)
            assert (order.status, order.charged) == (OrderStatus.PENDING, 0)
            await until_due(site, order)

    async def test_what_only_a_person_can_mend_fails_at_once(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        order = await worker.fail(await worker.take_and_start(), FailureReason.BRANCH_NOT_FOUND)
        assert order.status is OrderStatus.FAILED
        assert [one.id for one in (await desk.queue()).dead_letters] == [order.id]
        reopened = await desk.retry(task.id)
        assert (reopened.status, reopened.charged) == (OrderStatus.PENDING, 0)
        assert (await worker.take()).order.id == order.id

    async def test_only_what_failed_is_reopened(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        with pytest.raises(Conflict):
            await desk.retry(task.id)
        claimed = await worker.take_and_start()
        with pytest.raises(Conflict):
            await desk.requeue(claimed.order.id)
        await worker.complete(claimed)
        with pytest.raises(Conflict):
            await desk.requeue(claimed.order.id)

    async def test_released_unharmed(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task("released"))
        claimed = await worker.take_and_start()
        await desk.submit(a_task("more urgent", priority=9))
        order = await worker.release(claimed)
        assert (order.status, order.attempts, order.charged) == (OrderStatus.PENDING, 1, 0)
        assert await worker.release(claimed) == order
        assert (await worker.take()).task.asked.title == "released"

    async def test_cancelled_while_pending(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        order = await desk.cancel(task.id)
        assert order.status is OrderStatus.CANCELLED
        assert await desk.cancel(task.id) == order
        assert await desk.cancel_order(order.id) == order
        assert await worker.claim() is None

    async def test_cancelled_while_running(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await desk.cancel_order(claimed.order.id)
        with pytest.raises(LeaseLost):
            await worker.complete(claimed)
        assert (await desk.execution(claimed.lease.execution_id)).outcome is Outcome.CANCELLED
        assert await worker.renew(claimed) == ["cancelled"]

    async def test_what_ended_is_not_cancelled(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        await worker.complete(await worker.take_and_start())
        with pytest.raises(Conflict):
            await desk.cancel(task.id)

    async def test_what_it_needs_comes_first(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        one = await desk.submit(a_task("one"))
        site.clock.advance(0.001)
        two = await desk.submit(a_task("two"))
        late = await desk.submit(a_task("late", needs=(one.id, two.id, one.id), priority=99))
        assert late.status is TaskStatus.BLOCKED
        first = await worker.take()
        await worker.fail(await worker.take(), FailureReason.BRANCH_NOT_FOUND)
        await worker.complete(first)
        assert (await desk.task(late.id)).order.blocked_by == 1
        assert await worker.claim() is None
        await desk.retry(two.id)
        await worker.complete(await worker.take())
        assert (await desk.task(late.id)).task.status is TaskStatus.PENDING
        assert (await worker.take()).task.id == late.id

    async def test_what_needs_what_is_cancelled_fails(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        needed = await desk.submit(a_task("needed", priority=9))
        other = await desk.submit(a_task("other"))
        late = await desk.submit(a_task("late", needs=(needed.id, other.id)))
        later = await desk.submit(a_task("later", needs=(late.id, needed.id)))
        last = await desk.submit(a_task("last", needs=(later.id,)))
        await worker.take_and_start()
        await desk.cancel(needed.id)
        for task in (late, later, last):
            order = (await desk.task(task.id)).order
            assert order.status is OrderStatus.FAILED
            assert order.failure is not None
            assert order.failure.reason is FailureReason.NEEDED_TASK_CANCELLED
            assert needed.id in order.failure.detail
            with pytest.raises(Conflict, match=needed.id):
                await desk.requeue(order.id)
        assert len((await desk.queue()).dead_letters) == 3
        await worker.complete(await worker.take())
        assert (await desk.task(late.id)).order.status is OrderStatus.FAILED
        assert await worker.claim() is None

    async def test_what_failed_still_may_be_waited_for(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        needed = await desk.submit(a_task("needed"))
        await worker.fail(await worker.take_and_start(), FailureReason.BRANCH_NOT_FOUND)
        assert (await desk.submit(a_task("late", needs=(needed.id,)))).status is TaskStatus.BLOCKED

    async def test_what_is_completed_blocks_nothing(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        done = await desk.submit(a_task())
        await worker.complete(await worker.take())
        assert (await desk.submit(a_task(needs=(done.id,)))).status is TaskStatus.PENDING
