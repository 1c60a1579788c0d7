"""What becomes of requests that nobody answers, of answers that come too late, and of approvals in time."""

import pytest

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import AlreadyAnswered, Conflict, InvalidInput
from agentvine.domain.event import Event, EventKind
from agentvine.domain.request import RequestKind, RequestStatus, ToolUse, Unanswered
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.testing.cast import APPROVED, LEFT, RIGHT, Hand, a_task, a_worker
from agentvine.testing.site import Site
from agentvine.testing.suites.people import events_until
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk

CALL = ToolUse(tool="Bash", input={"command": "npm install left-pad"}, rule="adds a dependency", digest="d" * 64)
OTHER_CALL = ToolUse(tool="Bash", input={"command": "npm install"}, rule="adds a dependency", digest="e" * 64)
CHANGED_DIGEST = "1dd09689c78cd5e2c05eebb06370d1e7ca523f4777ffe7b8dee9b937807744e5"
"""`printf '["Bash",{"command":"npm install left-pad@1"}]' | sha256sum`"""
DENIED = m.Reply(verdict="denied", message="not that package")


def approval(worker: Hand, claimed: m.Claimed, call: ToolUse | None = CALL, **more: object) -> m.NewRequest:
    return worker.question(claimed, RequestKind.APPROVAL, call=call, message="May I install it?", **more)


async def told(desk: FrontDesk, kind: EventKind) -> Event:
    """The last of the events until the first of this kind."""
    return (await events_until(desk, kind))[-1]


def again(question: m.NewRequest, claimed: m.Claimed) -> m.NewRequest:
    """The same call, made by whoever holds the order now."""
    return question.model_copy(update={"token": claimed.lease.token})


class Answers:
    async def test_an_order_goes_on_without_the_approval_that_nobody_gave(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = approval(worker, claimed, expires_in_seconds=60)
        assert (await worker.park(claimed, question)).unanswered is Unanswered.DENY
        await desk.submit(a_task("more urgent", priority=9))
        await site.pass_time(62)
        taken = await worker.take_and_start()
        assert taken.task.id == task.id, "it is the first in its queue"
        with pytest.raises(Conflict) as over:
            await worker.plane.response(question.id)
        assert (over.value.facts["status"], over.value.facts["unanswered"]) == ("expired", "deny")
        expired = await told(desk, EventKind.REQUEST_EXPIRED)
        assert (expired.data["unanswered"], expired.data["digest"]) == ("deny", CALL.digest)
        asked = await worker.plane.ask(taken.lease.execution_id, again(question, taken))
        assert asked.status is RequestStatus.EXPIRED, "nobody agreed, and that stands"

    async def test_a_worker_that_holds_hears_what_happens_when_nobody_answers(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed, expires_in_seconds=10)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await site.pass_time(12)
        with pytest.raises(Conflict) as over:
            await worker.plane.response(question.id, wait_seconds=20)
        assert (over.value.facts["status"], over.value.facts["unanswered"]) == ("expired", "decide")
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.RUNNING

    async def test_a_delivery_that_nobody_approved_is_asked_for_again_after_a_requeue(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = approval(worker, claimed, None, expires_in_seconds=60)
        assert (await worker.park(claimed, question)).unanswered is Unanswered.FAIL
        await site.pass_time(62)
        failed = (await desk.work_order(claimed.order.id)).failure
        assert failed is not None
        assert failed.reason is FailureReason.REQUEST_EXPIRED
        await desk.retry(task.id)
        taken = await worker.take_and_start()
        asked = await worker.plane.ask(taken.lease.execution_id, again(question, taken))
        assert (asked.status, asked.execution_id) == (RequestStatus.OPEN, taken.lease.execution_id)
        await desk.respond(question.id, APPROVED)
        assert await worker.plane.response(question.id) is not None

    async def test_an_answer_that_comes_too_late_is_kept_and_found_when_it_is_asked_again(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed, expires_in_seconds=60)
        await worker.park(claimed, question)
        await site.pass_time(62)
        taken = await worker.take_and_start()
        late = await desk.respond(question.id, LEFT)
        assert late.status is RequestStatus.EXPIRED
        assert late.response is not None
        assert late.response.message == "the left one"
        assert await desk.request(question.id) == late
        assert await desk.respond(question.id, LEFT) == late, "the same again is harmless"
        with pytest.raises(AlreadyAnswered) as refused:
            await desk.respond(question.id, RIGHT)
        first = refused.value.facts["response"]
        assert isinstance(first, dict)
        assert first["message"] == "the left one"
        event = await told(desk, EventKind.REQUEST_ANSWERED_LATE)
        assert (event.actor, event.data["unanswered"]) == (late.response.made_by, "decide")
        asked = await worker.plane.ask(taken.lease.execution_id, again(question, taken))
        assert asked.response == late.response
        assert await worker.plane.response(question.id) == late.response

    async def test_an_answer_to_an_order_that_has_ended_is_refused(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = worker.question(claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await worker.complete(claimed)
        with pytest.raises(Conflict, match="its order has ended") as refused:
            await desk.respond(question.id, LEFT)
        assert refused.value.facts["status"] == "withdrawn"
        assert (await desk.request(question.id)).response is None

    async def test_an_answer_fits_what_was_asked(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question, delivery, call = worker.question(claimed), approval(worker, claimed, None), approval(worker, claimed)
        for each in (question, delivery, call):
            await worker.plane.ask(claimed.lease.execution_id, each)
        changed = m.Reply(verdict="approved", changed_input={"command": "true"})
        for request, reply, pointer in (
            (question, APPROVED, "/verdict"),
            (call, LEFT, "/verdict"),
            (delivery, changed, "/changed_input"),
            (call, changed.model_copy(update={"verdict": "denied"}), "/changed_input"),
        ):
            with pytest.raises(InvalidInput) as refused:
                await desk.respond(request.id, reply)
            errors = refused.value.facts["errors"]
            assert isinstance(errors, list)
            assert [error["pointer"] for error in errors] == [pointer]
        assert len((await desk.requests()).items) == 3, "all of them are still open"


class Approvals:
    async def test_an_approval_holds_for_a_while_and_then_the_same_call_asks_again(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = approval(worker, claimed)
        asked = await worker.plane.ask(claimed.lease.execution_id, question)
        assert asked.call == CALL
        approved = (await desk.respond(question.id, APPROVED)).response
        assert approved is not None
        assert approved.valid_until is not None
        holds = approved.valid_until - approved.made_at
        assert holds.total_seconds() == site.terms.approval_seconds
        assert (await worker.plane.ask(claimed.lease.execution_id, question)).response == approved
        await worker.release(claimed)
        site.clock.advance(site.terms.approval_seconds - 1)
        taken = await worker.take_and_start()
        assert (await worker.plane.ask(taken.lease.execution_id, again(question, taken))).response == approved
        site.clock.advance(1)
        with pytest.raises(Conflict) as over:
            await worker.plane.response(question.id)
        assert over.value.facts["status"] == "lapsed"
        opened = await worker.plane.ask(taken.lease.execution_id, again(question, taken))
        assert (opened.status, opened.response) == (RequestStatus.OPEN, None)
        assert opened.execution_id == taken.lease.execution_id
        assert [request.id for request in (await desk.requests()).items] == [question.id]
        kinds = [event.kind for event in await events_until(desk, EventKind.REQUEST_ANSWERED)]
        assert kinds.count(EventKind.REQUEST_OPENED) == 1
        assert (await desk.respond(question.id, DENIED)).response != approved
        denied = (await worker.plane.ask(taken.lease.execution_id, again(question, taken))).response
        assert denied is not None
        assert (denied.verdict, denied.message, denied.valid_until) == ("denied", "not that package", None)
        site.clock.advance(2 * site.terms.approval_seconds)
        assert await worker.plane.response(question.id) == denied, "a denial has no end"

    async def test_the_same_execution_asks_again_too(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question = approval(worker, claimed)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await desk.respond(question.id, APPROVED)
        site.clock.advance(site.terms.approval_seconds)
        assert (await worker.plane.ask(claimed.lease.execution_id, question)).status is RequestStatus.OPEN

    async def test_changed_input_reaches_the_worker_and_all_of_it_is_told(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        question, other = approval(worker, claimed), approval(worker, claimed, OTHER_CALL)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await worker.plane.ask(claimed.lease.execution_id, other)
        changed = m.Reply(verdict="approved", message="pin it", changed_input={"command": "npm install left-pad@1"})
        await desk.respond(question.id, changed)
        with pytest.raises(AlreadyAnswered):
            await desk.respond(question.id, changed.model_copy(update={"changed_input": None}))
        response = await worker.plane.response(question.id)
        assert response is not None
        assert response.changed_input == {"command": "npm install left-pad@1"}
        await desk.respond(other.id, DENIED)
        me = f"key:{(await desk.who_am_i()).key.id}"
        event = await told(desk, EventKind.REQUEST_ANSWERED)
        assert event.actor == me
        said = {"request_id": question.id, "verdict": "approved", "by": me, "message": "pin it", "tool": "Bash"}
        said |= {"rule": "adds a dependency", "digest": CALL.digest, "changed_digest": CHANGED_DIGEST}
        assert event.data.items() >= said.items()
        entries = [entry for entry in (await desk.audit()).items if entry.kind is AuditKind.REQUEST_ANSWERED]
        denied, approved = entries
        assert (denied.actor, denied.data["verdict"], denied.data["message"]) == (me, "denied", "not that package")
        assert (approved.actor, approved.data["digest"]) == (me, CALL.digest)
        assert approved.data["changed_digest"] == CHANGED_DIGEST
        assert (await desk.verify_audit()).broken_at is None
