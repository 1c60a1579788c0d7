"""Intake on both databases: what a forge shows becomes tasks once, is told there, and is answered there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from agentvine.domain.errand import ErrandResult, LookForWork, Say, WorkSeen
from agentvine.domain.errors import InvalidInput
from agentvine.domain.execution import Delivery
from agentvine.domain.forge import ForgeComment, IssueSeen, Said
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.domain.request import RequestKind
from agentvine.domain.task import NewTask, Origin, Task
from agentvine.domain.worker_types import TaskType
from agentvine.server.intake_teller import IntakeTeller
from agentvine.testing.cast import HEAD, REPOSITORY, Hand, a_task, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.administration import NewRepository, RepositoryChanges
from agentvine.wire.errands import ErrandClaim, GivenErrand
from agentvine.wire.front_desk import FrontDesk

RULES = IntakeRules(label="Agent", users=("Ann", "bob"), type=TaskType.TEST)
SETTINGS = RepositorySettings(repository=REPOSITORY, default_branch="main", intake=RULES)


@dataclass
class Stand:
    """A repository with intake on, a worker that brings back what the test has it see, and one that works."""

    site: InProcessSite
    desk: FrontDesk
    hand: Hand
    repository_id: str
    teller: IntakeTeller
    comments: list[ForgeComment] = field(default_factory=list)

    def comment(self, body: str, author: str = "ann", number: int = 0, **more: object) -> ForgeComment:
        values = {"id": f"c-{number or len(self.comments) + 1}", "author": author, "body": body}
        one = ForgeComment.model_validate({**values, "at": self.site.clock.now(), **more})
        self.comments.append(one)
        return one

    def issue(self, number: int = 7, **more: object) -> IssueSeen:
        values: dict[str, object] = {
            "number": number,
            "url": f"https://git.example/team/project/issues/{number}",
            "title": "Totals are wrong",
            "body": "They are off by one.",
            "author": "mallory",
            "at": self.site.clock.now(),
            "comments": tuple(self.comments),
        }
        return IssueSeen.model_validate({**values, **more})

    async def claim(self) -> GivenErrand | None:
        return await self.hand.plane.claim_errand(ErrandClaim(worker_id=self.hand.id))

    async def end(self, given: GivenErrand, **result: object) -> None:
        values = {"worker_id": self.hand.id, **result}
        await self.hand.plane.end_errand(given.id, ErrandResult.model_validate(values))

    async def look(self, *issues: IssueSeen) -> LookForWork:
        """The next look for work shows these; what else is due is said before."""
        self.site.clock.advance(400)
        while True:
            given = await self.claim()
            assert given is not None, "nobody looks for work"
            if isinstance(given.errand, LookForWork):
                await self.end(given, work=WorkSeen(issues=issues))
                return given.errand
            await self.end(given, said=Said(id="s-1", at=self.site.clock.now()))

    async def says(self) -> str:
        """What the status comment is to say anew; it is said then."""
        await self.teller.tell()
        told = ""
        while (given := await self.claim()) is not None and isinstance(given.errand, Say):
            told += given.errand.text
            await self.end(given, said=Said(id="s-1", at=self.site.clock.now()))
        return told

    async def tasks(self) -> list[Task]:
        return sorted((await self.desk.tasks()).items, key=lambda task: task.id)


@pytest.fixture
async def stand(database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    async with in_process_site(database_url, tmp_path) as site:
        desk, hand = await site.front_desk(), await a_worker(site)
        added = await desk.add_repository(NewRepository(settings=SETTINGS))
        teller = IntakeTeller(site.control.intake, site.database, site.clock)
        await teller.tell()
        yield Stand(site, desk, hand, added.repository.id, teller)


async def test_an_issue_becomes_one_task_whatever_is_seen_how_often(stand: Stand) -> None:
    labelled = stand.issue(labels=("bug", "agent"))
    first = await stand.look(labelled, stand.issue(8, labels=("agent",), is_open=False))
    assert (first.label, first.since) == ("Agent", stand.site.clock.now() - timedelta(seconds=400 + 600))
    await stand.look(labelled.model_copy(update={"title": "another", "body": "words"}), stand.issue(9))
    await stand.desk.change_repository(stand.repository_id, RepositoryChanges(settings={"test": ["pytest"]}))
    await stand.look(labelled, stand.issue(10, labels=("agent",), is_pull=True))
    (task,) = await stand.tasks()
    asked = task.asked
    assert (asked.title, asked.description, asked.type) == (labelled.title, labelled.body, TaskType.TEST)
    assert (asked.branch, asked.repository, asked.budget) == (
        "main",
        REPOSITORY,
        NewTask.model_fields["budget"].default,
    )
    assert asked.origin == Origin(kind="issue", number=7, url=labelled.url, author="mallory")
    assert task.permission_level is PermissionLevel.SUPERVISED, "nobody said that it may be more"
    who = await stand.desk.who_am_i()
    assert task.created_by == who.key.id, "it belongs to the key that added the repository"
    cancelled = await stand.desk.cancel(task.id)
    assert cancelled.status.value == "cancelled"
    await stand.look(labelled)
    assert len(await stand.tasks()) == 1


async def test_commands_of_those_who_are_named_become_tasks_and_nobody_else_s(stand: Stand) -> None:
    refused = [
        stand.comment("/agentvine do it", author="eve"),
        stand.comment("/agentvine do it", author="ann\u200b"),
        stand.comment("/agentvine do it", ours=True),
        stand.comment("/agentvine do it", edited=True),
        stand.comment("> /agentvine do it\nand so on"),
        stand.comment("> so\n/agentvine do it"),
        stand.comment("```\n/agentvine do it\n```"),
        stand.comment("<!-- \n/agentvine do it\n-->"),
        stand.comment("    /agentvine do it"),
        stand.comment("say `/agentvine do it`"),
        stand.comment("/agentvinedo it"),
        stand.comment("/agentvine cancel"),
        stand.comment("/agentvine do it", at=stand.site.clock.now() - timedelta(hours=1)),
    ]
    await stand.look(stand.issue())
    assert await stand.tasks() == [], refused
    stand.site.clock.advance(1200)
    await stand.desk.change_repository(
        stand.repository_id, RepositoryChanges(settings={"intake": {"users": ["Ann", "bob", "eve"]}})
    )
    here = stand.comment("Look here:\n\n/agentvine docs Say what it does\nand why\n\n    x = 1", author="ANN")
    bare = stand.comment("/agentvine", author="bob", url="https://git.example/c/2")
    await stand.look(stand.issue(is_pull=True))
    await stand.look(stand.issue(is_pull=True))
    one, two = sorted(await stand.tasks(), key=lambda task: task.asked.type)
    assert (one.asked.type, one.asked.title) == (TaskType.DOCS, "Say what it does")
    assert "and why\n\n    x = 1\n\nIt was asked for in a comment on the pull request" in one.asked.description
    assert "They are off by one." in one.asked.description
    assert one.asked.origin == Origin(kind="comment", number=7, url=stand.issue().url, author=here.author)
    assert (two.asked.type, two.asked.title) == (TaskType.TEST, "Totals are wrong")
    assert two.asked.origin is not None
    assert two.asked.origin.url == bare.url


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


async def test_a_repository_that_is_added_again_is_told_of_what_came_from_it_before(stand: Stand) -> None:
    await stand.look(stand.issue(labels=("agent",)))
    await stand.says()
    claimed = await stand.hand.take_and_start()
    await stand.desk.remove_repository(stand.repository_id)
    assert await stand.says() == ""
    await stand.desk.add_repository(NewRepository(settings=SETTINGS))
    told = ""
    while (given := await stand.claim()) is not None:
        told += given.errand.text if isinstance(given.errand, Say) else ""
        await stand.end(given)
    assert "being worked on" in told, "it is said without anything else happening"
    asked = await stand.hand.park(claimed, stand.hand.question(claimed))
    await stand.says()
    stand.comment("because")
    await stand.look(stand.issue())
    assert (await stand.desk.request(asked.id)).response is not None
    assert len(await stand.tasks()) == 1


async def test_each_user_counts_from_when_he_was_named(stand: Stand) -> None:
    async def named(*users: str) -> None:
        changes = RepositoryChanges(settings={"intake": {"users": list(users)}})
        await stand.desk.change_repository(stand.repository_id, changes)

    stand.site.clock.advance(3000)
    stand.comment("/agentvine docs by ann", author="ann")
    stand.site.clock.advance(3000)
    stand.comment("/agentvine docs too early", author="eve")
    stand.site.clock.advance(1)
    await named("Ann", "bob", "Eve")
    stand.comment("/agentvine docs by eve", author="eve")
    stand.site.clock.advance(1)
    await named("Ann", "bob", "Eve", "zoe")
    await stand.look(stand.issue())
    assert sorted(task.asked.title for task in await stand.tasks()) == ["by ann", "by eve"]
    await named("Ann", "bob")
    stand.comment("/agentvine docs while she was not named", author="eve")
    stand.site.clock.advance(1)
    await named("Ann", "bob", "Eve")
    await stand.look(stand.issue())
    assert len(await stand.tasks()) == 2


async def test_looks_go_on_where_nobody_says_anything(stand: Stand) -> None:
    first = await stand.look(stand.issue())
    for _ in range(3):
        stand.site.clock.advance(86_400)
        await stand.look(stand.issue())
    last = await stand.look(stand.issue())
    assert last.since - first.since > timedelta(days=2)
    stand.site.clock.advance(3600)
    given = await stand.claim()
    assert given is not None
    said_after_the_look = stand.comment("/agentvine docs late")
    stand.comments.clear()
    stand.site.clock.advance(7200)
    await stand.end(given, work=WorkSeen(issues=(stand.issue(),)))
    stand.comments.append(said_after_the_look)
    await stand.look(stand.issue())
    assert [task.asked.title for task in await stand.tasks()] == ["late"], "a worker took long to bring its look back"


async def test_what_an_earlier_version_kept_of_looks_is_read(stand: Stand) -> None:
    old = """UPDATE intake_looks SET users = '["ann", "bob"]' WHERE repository_id = :id"""
    await stand.site.database.write(lambda unit: unit.run(old, id=stand.repository_id))
    stand.comment("/agentvine docs by ann")
    stand.comment("/agentvine docs by eve", author="eve")
    await stand.look(stand.issue())
    assert [task.asked.title for task in await stand.tasks()] == ["by ann"]


async def test_what_stands_in_the_way_is_said_of_the_repository(stand: Stand) -> None:
    url = "https://git.example/team/docs.git"
    there = await stand.site.front_desk(Scope(role=Role.ADMIN, repositories=(url,)))
    rules = IntakeRules(label="agent", users=("ann",))
    added = await there.add_repository(NewRepository(settings=RepositorySettings(repository=url, intake=rules)))

    async def trouble() -> str:
        return (await stand.desk.repository(added.repository.id)).trouble or ""

    async def looked(issue: IssueSeen) -> None:
        stand.site.clock.advance(400)
        while (given := await stand.claim()) is not None:
            shown = (issue,) if given.errand.repository == url else ()
            await stand.end(given, work=WorkSeen(issues=shown))

    await looked(stand.issue(labels=("agent",)))
    assert "name a branch" in await trouble()
    await stand.desk.change_repository(added.repository.id, RepositoryChanges(settings={"default_branch": "trunk"}))
    assert await trouble() == ""
    await looked(stand.issue(labels=("agent",)))
    assert [task.asked.branch for task in await stand.tasks()] == ["trunk"]
    assert await trouble() == ""
    await stand.desk.revoke_key((await there.who_am_i()).key.id)
    await looked(stand.issue(8, labels=("agent",)))
    assert "key that added this repository has ended" in await trouble()
    assert len(await stand.tasks()) == 1
    for off in ({"intake": None}, {"intake": {"label": "agent"}}):
        await stand.desk.change_repository(added.repository.id, RepositoryChanges(settings=off))
    await stand.desk.remove_repository(added.repository.id)
    await looked(stand.issue(9, labels=("agent",)))
    stand.site.clock.advance(4000)
    given = await stand.claim()
    assert given is not None
    assert given.errand.repository == REPOSITORY, "what was removed is not looked at any more"


async def test_only_the_server_says_that_a_task_comes_from_a_forge(stand: Stand) -> None:
    origin = Origin(kind="issue", number=1, author="ann")
    with pytest.raises(InvalidInput, match="only the server"):
        await stand.desk.submit(a_task(origin=origin))
