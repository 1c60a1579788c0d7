"""What workers ask, and what becomes of it."""

import asyncio

import pytest

from agentvine.domain.errors import AlreadyAnswered, Conflict, NotFound
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role, Scope
from agentvine.domain.request import RequestKind, RequestStatus
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.testing.cast import APPROVED, LEFT, RIGHT, a_task, a_worker
from agentvine.testing.site import Site


class Conversations:
    async def test_asked_and_answered_while_it_holds(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed, context="two of them", options=("left", "right"))
        asked = await worker.plane.ask(claimed.lease.execution_id, question)
        assert await worker.plane.ask(claimed.lease.execution_id, question) == asked
        assert (asked.status, asked.options) == (RequestStatus.OPEN, ("left", "right"))
        assert (await desk.requests()).items == (asked,)
        assert await worker.plane.response(question.id) is None
        await desk.respond(question.id, LEFT)
        response = await worker.plane.response(question.id)
        assert response is not None
        assert (response.verdict, response.message) == ("answer", "the left one")
        assert response.made_by == f"key:{(await desk.who_am_i()).key.id}"
        assert (await desk.requests()).items == ()
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.RUNNING

    async def test_the_answer_wakes_who_waits_for_it(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(worker.plane.response(question.id, wait_seconds=30))
            await desk.respond(question.id, LEFT)
        assert waiting.result() is not None

    async def test_the_first_answer_stands(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        answered = await desk.respond(question.id, LEFT)
        assert await desk.respond(question.id, LEFT) == answered
        with pytest.raises(AlreadyAnswered) as refused:
            await desk.respond(question.id, RIGHT)
        told = refused.value.facts["response"]
        assert isinstance(told, dict)
        assert told["message"] == "the left one"
        assert (await desk.request(question.id)) == answered

    async def test_parked_until_answered(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task("parked"))
        claimed = await worker.take_and_start()
        question = worker.question(claimed, RequestKind.APPROVAL)
        request = await worker.park(claimed, question)
        assert await worker.park(claimed, question) == request
        order = await desk.work_order(claimed.order.id)
        assert (order.status, order.lease, order.request_id) == (OrderStatus.WAITING, None, request.id)
        assert (order.attempts, order.charged, order.spent_usd) == (1, 0, 0.25)
        assert await worker.claim() is None
        await desk.submit(a_task("more urgent", priority=9))
        await desk.respond(request.id, APPROVED)
        again = await (await a_worker(site, "wrk_other")).take()
        assert again.task.asked.title == "parked"
        assert again.earlier is not None
        assert again.earlier.execution.id == claimed.lease.execution_id
        assert again.earlier.request is not None
        assert again.earlier.request.response is not None
        assert again.earlier.request.response.verdict == "approved"

    async def test_parked_after_the_answer_came_goes_on(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await desk.respond(question.id, LEFT)
        assert (await worker.park(claimed, question)).status is RequestStatus.ANSWERED
        again = await worker.take()
        assert again.earlier is not None
        assert again.earlier.request is not None
        assert again.earlier.request.response is not None

    async def test_an_answer_outlives_its_asker(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        again = await worker.take()
        assert again.earlier is not None
        assert again.earlier.request is not None
        assert again.earlier.request.status is RequestStatus.OPEN
        await desk.respond(question.id, LEFT)
        assert await worker.plane.response(question.id) is not None

    async def test_a_clarification_that_nobody_gives(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed, expires_in_seconds=60)
        await worker.park(claimed, question)
        await site.pass_time(62)
        again = await worker.take()
        assert again.earlier is not None
        assert again.earlier.request is not None
        assert again.earlier.request.status is RequestStatus.EXPIRED
        with pytest.raises(Conflict) as over:
            await worker.plane.response(question.id)
        assert (over.value.facts["status"], over.value.facts["unanswered"]) == ("expired", "decide")

    async def test_a_delivery_that_nobody_approves(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.park(claimed, worker.question(claimed, RequestKind.APPROVAL, expires_in_seconds=60))
        await site.pass_time(62)
        order = await desk.work_order(claimed.order.id)
        assert order.status is OrderStatus.FAILED
        assert order.failure is not None
        assert order.failure.reason is FailureReason.REQUEST_EXPIRED

    async def test_what_was_withdrawn_is_asked_again_after_a_requeue(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await worker.fail(claimed, FailureReason.VERIFICATION_FAILED)
        with pytest.raises(Conflict):
            await worker.plane.response(question.id)
        await desk.retry(task.id)
        again = await worker.take_and_start()
        reopened = await worker.plane.ask(
            again.lease.execution_id, question.model_copy(update={"token": again.lease.token})
        )
        assert (reopened.id, reopened.status) == (question.id, RequestStatus.OPEN)
        assert reopened.execution_id == again.lease.execution_id
        await desk.respond(question.id, LEFT)
        assert await worker.plane.response(question.id) is not None

    async def test_cancelling_withdraws_the_question(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.park(claimed, question)
        await desk.cancel(task.id)
        assert (await desk.request(question.id)).status is RequestStatus.WITHDRAWN
        with pytest.raises(Conflict):
            await desk.respond(question.id, LEFT)
        assert [request.id for request in (await desk.task(task.id)).requests] == [question.id]

    async def test_a_request_id_belongs_to_one_order(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task("one"))
        await desk.submit(a_task("two"))
        one, two = await worker.take_and_start(), await worker.take_and_start()
        question = worker.question(one)
        await worker.plane.ask(one.lease.execution_id, question)
        with pytest.raises(Conflict):
            await worker.plane.ask(two.lease.execution_id, question.model_copy(update={"token": two.lease.token}))

    async def test_the_inbox_is_paged_oldest_first(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        ids = []
        for _ in range(5):
            question = worker.question(claimed)
            await worker.plane.ask(claimed.lease.execution_id, question)
            ids.append(question.id)
            site.clock.advance(0.01)
        found: list[str] = []
        cursor: str | None = None
        while len(found) < 5:
            page = await desk.requests(cursor=cursor, limit=2)
            found += [request.id for request in page.items]
            cursor = page.next_cursor
        assert found == ids
        assert cursor is None
        assert len((await desk.requests(RequestStatus.ANSWERED)).items) == 0
        assert len((await desk.requests(None)).items) == 5

    async def test_only_some_may_answer(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        stranger = Scope(role=Role.MEMBER, repositories=("https://git.example/team/other.git",))
        with pytest.raises(NotFound):
            await (await site.front_desk(stranger)).respond(question.id, LEFT)
        with pytest.raises(NotFound):
            await desk.respond(new_id("req", site.clock.now()), LEFT)
