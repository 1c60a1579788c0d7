"""What people say of an order, how it reaches whoever works on it, and what the next one goes on with."""

import asyncio

import pytest

from agentvine.domain.errors import Conflict, Forbidden, InvalidInput, LeaseLost, NotFound
from agentvine.domain.event import EventKind
from agentvine.domain.execution import Delivery, Outcome, Phase, Usage
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.testing.cast import BASE, ELSEWHERE, Hand, a_task, a_worker, until_due
from agentvine.testing.site import Site
from agentvine.wire import messages as m

HELLO = m.NewComment(text="Use the other one.")


def wanted(claimed: m.Claimed, **more: float) -> m.CommentsWanted:
    return m.CommentsWanted.model_validate({"token": claimed.lease.token, **more})


async def talks(
    worker: Hand, claimed: m.Claimed, session: str = "s-1", turns: int = 3, heard: int | None = None
) -> None:
    """Its agent has begun a conversation, and said something."""
    report = m.PhaseReport(
        token=claimed.lease.token,
        phase=Phase.WORKING,
        base_sha=BASE,
        session_id=session,
        usage=Usage(turns=turns),
        comments_heard=heard,
    )
    await worker.plane.phase(claimed.lease.execution_id, report)


class Comments:
    async def test_a_comment_wakes_whoever_works_on_it(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        assert await desk.comments(task.id) == ()
        first = await desk.comment(task.id, HELLO)
        claimed = await worker.take_and_start()
        page = await worker.plane.comments(claimed.order.id, wanted(claimed))
        assert page.comments == (first,)
        assert (first.number, first.text, first.task_id) == (1, HELLO.text, task.id)
        assert first.author == f"key:{(await desk.who_am_i()).key.id}"
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(
                worker.plane.comments(claimed.order.id, wanted(claimed, after=1, wait_seconds=30))
            )
            second = await desk.comment(task.id, m.NewComment(text="And hurry."))
        assert waiting.result().comments == (second,)
        assert await desk.comments(task.id) == (first, second)
        async for event in desk.events(after=0, task_id=task.id):
            if event.kind is EventKind.TASK_COMMENTED:
                assert event.actor == first.author
                break

    async def test_only_the_holder_of_the_lease_hears_them(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        other = await a_worker(site, "wrk_other")
        with pytest.raises(LeaseLost):
            await other.plane.comments(claimed.order.id, m.CommentsWanted(token=claimed.lease.token + 1))
        await worker.release(claimed)
        with pytest.raises(LeaseLost):
            await worker.plane.comments(claimed.order.id, wanted(claimed))
        await desk.comment(task.id, HELLO)

    async def test_what_has_ended_takes_none_and_says_what_does(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        await worker.complete(await worker.take_and_start())
        with pytest.raises(Conflict, match="--comment"):
            await desk.comment(task.id, HELLO)
        with pytest.raises(Conflict, match="--comment"):
            await desk.retry(task.id)
        with pytest.raises(NotFound):
            await desk.comment("tsk_nobody", HELLO)
        viewer = await site.front_desk(Scope(role=Role.VIEWER))
        with pytest.raises(Forbidden):
            await viewer.comment(task.id, HELLO)
        assert await viewer.comments(task.id) == ()

    async def test_whoever_goes_on_knows_what_was_heard(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        await desk.comment(task.id, HELLO)
        claimed = await worker.take_and_start()
        await talks(worker, claimed, heard=1)
        await talks(worker, claimed, heard=0)
        await worker.release(claimed)
        again = await worker.take_and_start()
        assert again.earlier is not None
        assert again.earlier.execution.comments_heard == 1
        assert again.earlier.execution.broken_off

    async def test_a_failed_one_is_retried_with_a_comment(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await talks(worker, claimed)
        await worker.fail(claimed, FailureReason.VERIFICATION_FAILED)
        order = await desk.retry(task.id, m.Retry(comment="Try it so."))
        assert (order.id, order.status) == (task.work_order_id, OrderStatus.PENDING)
        again = await worker.take_and_start()
        assert again.earlier is not None
        assert again.earlier.execution.id == claimed.lease.execution_id
        page = await worker.plane.comments(order.id, wanted(again))
        assert [comment.text for comment in page.comments] == ["Try it so."]

    async def test_a_completed_one_is_followed_by_another(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task(permission_level="supervised", priority=3))
        claimed = await worker.take_and_start()
        await talks(worker, claimed)
        done = await worker.complete(claimed, ELSEWHERE)
        order = await desk.retry(task.id, m.Retry(comment="Call it otherwise."))
        assert order.id != done.id
        assert (await desk.work_order(done.id)) == done
        next_one = (await desk.task(order.task_id)).task
        assert next_one.asked.follows == task.id
        assert (next_one.asked.title, next_one.asked.priority) == (task.asked.title, 3)
        assert next_one.asked.branch == order.branch == ELSEWHERE.branch
        assert next_one.permission_level is PermissionLevel.SUPERVISED
        with pytest.raises(Conflict, match=f"{order.task_id} follows it already: `agentvine comment"):
            await desk.retry(task.id, m.Retry(comment="And so."))
        again = await worker.take_and_start()
        assert again.follows is not None
        assert (again.follows.session_id, again.follows.outcome) == ("s-1", Outcome.COMPLETED)
        assert isinstance(again.follows.delivery, Delivery)
        assert len((await worker.plane.comments(order.id, wanted(again))).comments) == 1
        await desk.cancel(order.task_id)
        other = await desk.retry(task.id, m.Retry(comment="Then so."))
        assert other.task_id not in {task.id, order.task_id}

    async def test_only_the_server_says_what_follows_what(self, site: Site) -> None:
        desk = await site.front_desk()
        task = await desk.submit(a_task())
        with pytest.raises(InvalidInput):
            await desk.submit(a_task(follows=task.id))
        with pytest.raises(InvalidInput):
            await desk.submit_all(m.TaskBatch(tasks=(m.NamedTask(name="a", task=a_task(follows=task.id)),)))

    async def test_one_that_had_no_time_to_begin_hides_nothing(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        first = await worker.take_and_start()
        await talks(worker, first)
        await worker.release(first)
        await worker.release(await worker.take_and_start())
        again = await worker.take_and_start()
        assert again.earlier is not None
        assert again.earlier.execution.id == first.lease.execution_id

    async def test_a_conversation_in_which_nothing_is_said_any_more_is_not_gone_on_with(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        first = await worker.take_and_start()
        await talks(worker, first)
        await worker.release(first)
        second = await worker.take_and_start()
        await talks(worker, second, turns=0)
        failure = Failure(reason=FailureReason.AGENT_ERROR, detail="it cannot be gone on with")
        report = m.FailureReport(token=second.lease.token, failure=failure)
        await until_due(site, await worker.plane.fail(second.order.id, report))
        third = await worker.take_and_start()
        assert third.earlier is not None
        assert third.earlier.execution.id == second.lease.execution_id
        assert not third.earlier.execution.broken_off
