"""Answers that are kept, and settle the like."""

from typing import Any

import pytest

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import Forbidden, InvalidInput, NotFound
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.precedent import Precedent, Remember
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import REPOSITORY, Hand, a_task, a_worker
from agentvine.testing.site import Site
from agentvine.testing.suites.answers import CALL, OTHER_CALL, approval
from agentvine.testing.suites.people import events_until
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk

ELSEWHERE = "https://git.example/team/other.git"
QUESTION = "Which currency: EUR, or USD?"
EUR = m.Reply(verdict="answer", message="always EUR", remember=Remember())
APPROVED = m.Reply(verdict="approved", remember=Remember())
MORE: dict[str, Any] = {"options": ("Euro", "US dollar")}


async def at_work(site: Site, desk: FrontDesk, worker: Hand, **more: Any) -> m.Claimed:
    """A new task of this worker's, at work, a little later."""
    site.clock.advance(0.01)
    task = await desk.submit(a_task(**more))
    claimed = await worker.take_and_start()
    assert claimed.task.id == task.id
    return claimed


async def answered(desk: FrontDesk, worker: Hand, claimed: m.Claimed, reply: m.Reply = EUR) -> str:
    """The id of a question that a person answered."""
    question = worker.question(claimed, message=QUESTION, **MORE)
    await worker.plane.ask(claimed.lease.execution_id, question)
    await desk.respond(question.id, reply)
    return question.id


async def asked(worker: Hand, claimed: m.Claimed, message: str = QUESTION, **more: Any) -> ControllerResponse | None:
    """What is answered at once."""
    question = worker.question(claimed, message=message, **{**MORE, **more})
    return (await worker.plane.ask(claimed.lease.execution_id, question)).response


async def only(desk: FrontDesk) -> Precedent:
    (precedent,) = (await desk.precedents()).items
    return precedent


class Precedents:
    async def test_a_remembered_answer_settles_the_like(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        one = await at_work(site, desk, worker)
        question = await answered(desk, worker, one)
        await desk.respond(question, EUR)  # said twice, kept once
        kept = await only(desk)
        me = f"key:{(await desk.who_am_i()).key.id}"
        assert (kept.request_id, kept.created_by, kept.message) == (question, me, QUESTION)
        assert (kept.type, kept.repository, kept.kind) == (TaskType.TEST, REPOSITORY, RequestKind.CLARIFICATION)
        two = await at_work(site, desk, worker)
        response = await asked(worker, two, "  which   CURRENCY: “Eur” or usd", options=("euro.", "US Dollar"))
        assert response is not None
        assert (response.verdict, response.message, response.made_by) == (
            "answer",
            "always EUR",
            f"precedent:{kept.id}",
        )
        assert (await desk.requests()).items == ()
        assert await asked(worker, two, "Which currency: EUR?") is None
        assert await asked(worker, two, options=("US dollar", "Euro")) is None, "an answer may be `the first`"
        parked = await worker.park(two, worker.question(two, message=QUESTION, **MORE))
        assert parked.status is RequestStatus.ANSWERED
        assert (await worker.take()).order.id == two.order.id, "what was parked goes on at once"

    async def test_it_holds_where_it_was_made_unless_told_otherwise(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        other = await a_worker(site, "wrk_docs", TaskType.DOCS)
        await answered(desk, worker, await at_work(site, desk, worker))
        here = await at_work(site, desk, other, type=TaskType.DOCS)
        there = await at_work(site, desk, worker, repository=ELSEWHERE)
        assert await asked(other, here) is None, "another type"
        assert await asked(worker, there) is None, "another repository"
        wider = EUR.model_copy(update={"message": "EUR", "remember": Remember(any_type=True, everywhere=True)})
        site.clock.advance(0.01)
        await answered(desk, worker, there, wider)
        assert (await desk.precedents()).items[0].repository is None
        for hand, claimed in ((other, here), (worker, there)):
            response = await asked(hand, claimed)
            assert response is not None
            assert response.message == "EUR"

    async def test_said_again_it_reaches_further(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        question = await answered(desk, worker, await at_work(site, desk, worker))
        everywhere = EUR.model_copy(update={"remember": Remember(any_type=True, everywhere=True)})
        for reply in (everywhere, EUR, everywhere):
            site.clock.advance(0.01)
            await desk.respond(question, reply)
        assert [kept.repository for kept in (await desk.precedents()).items] == [None, REPOSITORY]

    async def test_it_ends(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        brief = EUR.model_copy(update={"remember": Remember(for_seconds=60)})
        claimed = await at_work(site, desk, worker)
        question = await answered(desk, worker, claimed, brief)
        first = await only(desk)
        assert await asked(worker, claimed) is not None
        site.clock.advance(60)
        assert await asked(worker, claimed) is None
        assert (await desk.precedents()).items == ()
        assert (await desk.precedents(everything=True)).items == (first,)
        second = await answered(desk, worker, claimed)
        kept = await only(desk)
        assert kept.request_id == second != question
        forgotten = await desk.forget(kept.id)
        assert forgotten.forgotten_at is not None
        assert await desk.forget(kept.id) == forgotten
        assert await asked(worker, claimed) is None
        assert await desk.precedent(kept.id) == forgotten
        me = f"key:{(await desk.who_am_i()).key.id}"
        events = await events_until(desk, EventKind.PRECEDENT_FORGOTTEN, task_id=claimed.task.id)
        assert (events[-1].actor, events[-1].data["precedent_id"]) == (me, kept.id)
        wanted = {AuditKind.PRECEDENT_MADE, AuditKind.PRECEDENT_FORGOTTEN}
        entries = [entry for entry in (await desk.audit()).items if entry.kind in wanted]
        assert [entry.data["precedent_id"] for entry in entries] == [kept.id, kept.id, first.id]
        assert {entry.actor for entry in entries} == {me}

    async def test_an_approval_is_remembered_for_the_exact_call(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        one = await at_work(site, desk, worker)
        question = approval(worker, one)
        await worker.plane.ask(one.lease.execution_id, question)
        changed = APPROVED.model_copy(update={"changed_input": {"command": "true"}})
        await desk.respond(question.id, changed)
        kept = await only(desk)
        site.clock.advance(site.terms.approval_seconds * 2)
        two = await at_work(site, desk, worker)
        response = (await worker.plane.ask(two.lease.execution_id, approval(worker, two))).response
        assert response is not None
        assert (response.verdict, response.made_by) == ("approved", f"precedent:{kept.id}")
        assert response.changed_input == {"command": "true"}
        assert response.valid_until is not None
        assert (response.valid_until - site.clock.now()).total_seconds() == site.terms.approval_seconds
        other = await worker.plane.ask(two.lease.execution_id, approval(worker, two, OTHER_CALL))
        ruled = CALL.model_copy(update={"rule": "reaches the network"})
        for_other_reason = await worker.plane.ask(two.lease.execution_id, approval(worker, two, ruled))
        assert (other.status, for_other_reason.status) == (RequestStatus.OPEN, RequestStatus.OPEN)

    async def test_what_a_person_has_to_agree_to_is_not_approved_by_one(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        one = await at_work(site, desk, worker)
        question, delivery = approval(worker, one), approval(worker, one, None)
        for each in (question, delivery):
            await worker.plane.ask(one.lease.execution_id, each)
        await desk.respond(question.id, APPROVED)
        with pytest.raises(InvalidInput, match="decided each time"):
            await desk.respond(delivery.id, APPROVED)
        two = await at_work(site, desk, worker, permission_level=PermissionLevel.HUMAN_REQUIRED)
        again = approval(worker, two)
        assert (await worker.plane.ask(two.lease.execution_id, again)).status is RequestStatus.OPEN
        with pytest.raises(InvalidInput, match="each time"):
            await desk.respond(again.id, APPROVED)
        site.clock.advance(0.01)
        await desk.respond(again.id, m.Reply(verdict="denied", message="no", remember=Remember()))
        three = await at_work(site, desk, worker, permission_level=PermissionLevel.HUMAN_REQUIRED)
        denied = (await worker.plane.ask(three.lease.execution_id, approval(worker, three))).response
        assert denied is not None, "a denial needs no person"
        assert denied.verdict == "denied"

    async def test_it_reaches_no_further_than_the_key_of_whoever_made_it(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        narrow = await site.front_desk(
            Scope(
                role=Role.MEMBER,
                repositories=(REPOSITORY,),
                worker_types=(TaskType.TEST,),
                permission_level=PermissionLevel.SUPERVISED,
            )
        )
        careful = {"permission_level": PermissionLevel.SUPERVISED}
        one = await at_work(site, desk, worker, **careful)
        question = worker.question(one, message=QUESTION, **MORE)
        await worker.plane.ask(one.lease.execution_id, question)
        for beyond in (Remember(everywhere=True), Remember(any_type=True)):
            with pytest.raises(Forbidden):
                await narrow.respond(question.id, EUR.model_copy(update={"remember": beyond}))
        assert (await desk.request(question.id)).status is RequestStatus.OPEN, "nothing of it was done"
        await narrow.respond(question.id, EUR)
        two = await at_work(site, desk, worker, **careful)
        three = await at_work(site, desk, worker)
        assert await asked(worker, two) is not None
        assert await asked(worker, three) is None, "the key is not for orders of that level"
        wide = EUR.model_copy(update={"message": "USD", "remember": Remember(everywhere=True)})
        await answered(desk, worker, three, wide)
        everywhere, here = (await desk.precedents()).items
        assert (await narrow.precedents()).items == (here,)
        for attempt in (narrow.precedent, narrow.forget):
            with pytest.raises(NotFound):
                await attempt(everywhere.id)
        assert (await narrow.forget(here.id)).forgotten_at is not None
        viewer = await site.front_desk(Scope(role=Role.VIEWER))
        assert len((await viewer.precedents()).items) == 1
        with pytest.raises(Forbidden):
            await viewer.forget(everywhere.id)
        with pytest.raises(NotFound):
            await desk.precedent(new_id("pre", site.clock.now()))

    async def test_they_are_listed_in_pages_newest_first(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        claimed = await at_work(site, desk, worker)
        for number in range(3):
            question = worker.question(claimed, message=f"Is {number} enough?")
            await worker.plane.ask(claimed.lease.execution_id, question)
            await desk.respond(question.id, EUR)
            site.clock.advance(0.01)
        first = await desk.precedents(limit=2)
        second = await desk.precedents(cursor=first.next_cursor, limit=2)
        messages = [precedent.message for precedent in first.items + second.items]
        assert messages == ["Is 2 enough?", "Is 1 enough?", "Is 0 enough?"]
        assert second.next_cursor is None
