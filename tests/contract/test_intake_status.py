"""The status comment of what came in, on both databases: what it tells, and what answers a question that it shows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errand import Say
from agentvine.domain.execution import Delivery
from agentvine.domain.forge import Said
from agentvine.domain.request import RequestKind
from agentvine.testing.cast import HEAD
from agentvine.wire import messages as m
from tests.contract.intake import Stand, standing


@pytest.fixture
async def stand(database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(database_url, tmp_path) as stand:
        yield stand


async def test_the_status_comment_follows_and_a_reply_answers(stand: Stand) -> None:
    await stand.look(stand.issue(labels=("agent",)))
    (task,) = await stand.tasks()
    assert "queued" in await stand.says()
    assert await stand.says() == "", "nothing has changed"
    claimed = await stand.hand.take_and_start()
    assert "being worked on" in await stand.says()
    question = stand.hand.question(claimed, message="Which @one?\n```\n/close", options=("the *old*", "the new"))
    asked = await stand.hand.park(claimed, question)
    too_early = stand.comment("the first one")
    stand.site.clock.advance(1)
    shown = await stand.says()
    assert "@\u200bone" in shown
    assert "\n/close" not in shown
    assert "2. the new" in shown
    stand.site.clock.advance(5)
    stand.comment("2", author="eve")
    stand.comment("2", ours=True)
    stand.comment("2", edited=True)
    stand.comment("/agentvine status")
    await stand.look(stand.issue())
    await stand.look(stand.issue(number=8, comments=(stand.comment("on another issue"),)))
    stand.comments.pop()
    assert (await stand.desk.request(asked.id)).response is None
    stand.comment("2", author="bob")
    stand.comment("no, the old one", author="ann")
    await stand.look(stand.issue())
    response = (await stand.desk.request(asked.id)).response
    assert response is not None
    assert (response.verdict, response.message, response.made_by) == ("answer", "the new", "forge:bob")
    entry = next(one for one in (await stand.desk.audit()).items if one.kind.value == "request.answered")
    assert entry.actor == "forge:bob"
    again = await stand.hand.take_and_start()
    approval = await stand.hand.park(again, stand.hand.question(again, RequestKind.APPROVAL, message="May it?"))
    shown = await stand.says()
    assert f"agentvine approve {approval.id}" in shown
    stand.comment("approved")
    await stand.look(stand.issue())
    assert (await stand.desk.request(approval.id)).response is None, "nobody agrees by a comment"
    await stand.desk.respond(approval.id, m.Reply(verdict="approved"))
    last = await stand.hand.take_and_start()
    url = "https://git.example/team/project/pulls/3"
    await stand.hand.complete(last, Delivery(kind="branch", branch="agentvine/test/1", new_sha=HEAD, url=url))
    assert url in await stand.says()
    assert too_early.id
    assert len(await stand.tasks()) == 1
    assert (await stand.desk.task(task.id)).order.status.value == "completed"


async def test_each_comment_answers_one_question_and_failures_are_told(stand: Stand) -> None:
    await stand.look(stand.issue(labels=("agent",)), stand.issue(8, labels=("agent",)))
    stand.comment("/agentvine test and this")
    await stand.look(stand.issue())
    asked = []
    for _ in range(3):
        claimed = await stand.hand.take_and_start()
        asked.append((await stand.hand.park(claimed, stand.hand.question(claimed)), claimed.task))
        await stand.says()
        stand.site.clock.advance(1)
    stand.comment("because")
    await stand.look(stand.issue())
    await stand.look(stand.issue())
    answers = [(await stand.desk.request(request.id)).response for request, _ in asked]
    on_seven = [task.asked.origin is not None and task.asked.origin.number == 7 for _, task in asked]
    here = [answer for answer, on_it in zip(answers, on_seven, strict=True) if on_it]
    assert [answer.message if answer else None for answer in here] == ["because", None]
    assert sum(answer is not None for answer in answers) == 1
    (_, other) = asked[1]
    await stand.desk.cancel(other.id)
    assert "cancelled" in await stand.says()


async def test_older_words_show_no_question_and_what_was_said_before_it_answers_nothing(stand: Stand) -> None:
    await stand.look(stand.issue(labels=("agent",)))
    await stand.says()
    claimed = await stand.hand.take_and_start()
    await stand.teller.tell()
    on_its_way = await stand.claim()
    assert on_its_way is not None
    assert isinstance(on_its_way.errand, Say)
    asked = await stand.hand.park(claimed, stand.hand.question(claimed))
    await stand.teller.tell()
    await stand.end(on_its_way, said=Said(id="s-1", at=stand.site.clock.now()))
    stand.site.clock.advance(5)
    stand.comment("of what goes on")
    await stand.look(stand.issue())
    await stand.look(stand.issue())
    assert (await stand.desk.request(asked.id)).response is None, "it was written before the question was shown"
    stand.comment("because")
    await stand.look(stand.issue())
    response = (await stand.desk.request(asked.id)).response
    assert response is not None
    assert response.message == "because"


async def test_who_waits_for_an_approval_has_nobody_look_more_often(stand: Stand) -> None:
    await stand.look(stand.issue(labels=("agent",)))
    claimed = await stand.hand.take_and_start()
    await stand.hand.park(claimed, stand.hand.question(claimed, RequestKind.APPROVAL, message="May it?"))
    assert "agentvine approve" in await stand.says()
    await stand.look(stand.issue())
    stand.site.clock.advance(299)
    assert await stand.claim() is None
    stand.site.clock.advance(1)
    assert await stand.claim() is not None
