"""Intake on both databases: what a forge shows becomes tasks once, is told there, and is answered there."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agentvine.domain.errand import LookForWork, Say, WorkSeen
from agentvine.domain.errors import InvalidInput
from agentvine.domain.forge import IssueSeen, PullHead, Said
from agentvine.domain.intake import CLOCK_SLACK
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.domain.task import NewTask, Origin
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import REPOSITORY, a_task
from agentvine.wire.administration import NewRepository, RepositoryChanges
from tests.contract.intake import SETTINGS, Stand, standing

ODD = ("--upload-pack=touch${IFS}x", "f/" + "x" * 199, "release\u00a0", "\u3000release", "rel\u202eease", "a\x85")
"""Names of branches that are not given to git. Cut or stripped, some would be those of others."""


@pytest.fixture
async def stand(database_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(database_url, tmp_path) as stand:
        yield stand


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
    head = PullHead(branch="totals", own=True)
    await stand.look(stand.issue(is_pull=True, head=head))
    await stand.look(stand.issue(is_pull=True, head=head))
    one, two = sorted(await stand.tasks(), key=lambda task: task.asked.type)
    assert (one.asked.type, one.asked.title) == (TaskType.DOCS, "Say what it does")
    assert "and why\n\n    x = 1\n\nIt was asked for in a comment on the pull request" in one.asked.description
    assert "They are off by one." in one.asked.description
    assert one.asked.origin == Origin(kind="comment", number=7, url=stand.issue().url, author=here.author)
    assert (two.asked.type, two.asked.title) == (TaskType.TEST, "Totals are wrong")
    assert two.asked.origin is not None
    assert two.asked.origin.url == bare.url


async def test_a_command_on_a_pull_request_starts_at_its_branch_or_is_answered(stand: Stand) -> None:
    stand.comment("/agentvine docs Say it", number=50)
    await stand.look(stand.issue(is_pull=True))
    assert "newer worker" in ((await stand.desk.repository(stand.repository_id)).trouble or "")
    assert await stand.tasks() == [], "an earlier worker does not tell where it comes from"
    await stand.look(stand.issue(is_pull=True, head=PullHead(branch="feature/totals", own=True)))
    assert (await stand.desk.repository(stand.repository_id)).trouble is None
    (task,) = await stand.tasks()
    assert (task.asked.branch, task.permission_level) == ("feature/totals", PermissionLevel.SUPERVISED)
    while await stand.says():
        pass

    refused: list[tuple[str, dict[str, object]]] = [
        ("comes from a fork", {"head": PullHead(branch="main", own=False)}),
        ("is closed", {"head": PullHead(branch="done", own=True), "is_open": False}),
        ("does not show where", {"head": PullHead(branch="", own=True)}),
    ]
    refused.extend(("rename it", {"head": PullHead(branch=name, own=True)}) for name in ODD)
    for number, (why, more) in enumerate(refused, start=60):
        stand.comments.clear()
        stand.comment("/agentvine docs Say it", number=number, thread="t-1")
        stand.comment("/agentvine docs Say it", number=number + 30, author="eve")
        pull = stand.issue(8, is_pull=True, **more)
        await stand.look(pull)
        given = await stand.claim()
        assert given is not None and isinstance(given.errand, Say)
        said = given.errand
        assert (said.number, said.is_pull, said.thread) == (8, True, "t-1")
        assert why in said.text
        await stand.end(given, said=Said(id="s-2", at=stand.site.clock.now()))
        await stand.look(pull)
        assert await stand.claim() is None, "it is answered once, and others not at all"
    assert len(await stand.tasks()) == 1


async def test_one_of_which_nothing_can_be_made_keeps_nothing_else_back(stand: Stand) -> None:
    stand.comment("/agentvine docs one", number=1)
    stand.comment("/agentvine docs two", number=2)
    stand.comments[1] = stand.comments[1].model_copy(update={"url": "x" * 501})
    odd = stand.issue(5)
    stand.comments.clear()
    good = stand.issue(8, labels=("agent",))
    first = await stand.look(odd, good)
    (task,) = await stand.tasks()
    assert task.asked.origin is not None and task.asked.origin.number == 8, "of the odd one nothing is half done"
    assert "anything of issue 5" in ((await stand.desk.repository(stand.repository_id)).trouble or "")
    stand.site.clock.advance(3600)
    stand.comment("thanks", number=3)
    await stand.look(odd, stand.issue(8))
    assert (await stand.look(odd, stand.issue(8))).since > first.since, "it is not looked for from then on for ever"
    mended = odd.model_copy(update={"comments": odd.comments[:1]})
    await stand.look(mended)
    assert (await stand.desk.repository(stand.repository_id)).trouble is None
    stand.comment("/agentvine docs three", number=4)
    await stand.look(stand.issue(8))
    assert [one.asked.title for one in await stand.tasks()][1:] == ["three"], "one came too late by then"


async def test_pull_requests_take_turns_where_one_look_cannot_ask_of_all(stand: Stand) -> None:
    pulls = []
    for number in (3, 4, 5, 6):
        stand.comments.clear()
        stand.comment(f"/agentvine docs {number}", number=number)
        pulls.append(stand.issue(number, is_pull=True))

    async def look(*told: int) -> LookForWork:
        heads = {number: PullHead(branch=f"b{number}", own=number != 4) for number in told}
        return await stand.look(*(one.model_copy(update={"head": heads.get(one.number)}) for one in pulls))

    first = await look(3, 4)
    assert (first.users, first.heads_from) == (("Ann", "bob"), 1)
    assert "waits for the next look" in ((await stand.desk.repository(stand.repository_id)).trouble or "")
    await stand.desk.change_repository(stand.repository_id, RepositoryChanges(settings={"test": ["pytest"]}))
    assert (await look(3, 5)).heads_from == 1, "whatever an operator says, it begins anew"
    assert (await look()).heads_from == 6
    assert "newer worker" in ((await stand.desk.repository(stand.repository_id)).trouble or "")
    last = await look(6)
    assert (last.heads_from, last.since) == (6, first.since)
    assert (await stand.desk.repository(stand.repository_id)).trouble is None, "none waits any more"
    assert [task.asked.branch for task in await stand.tasks()] == ["b3", "b5", "b6"]
    stand.site.clock.advance(3600)
    assert (await look()).heads_from == 1
    assert (await look()).since > first.since
    assert (await stand.desk.repository(stand.repository_id)).trouble is None
    assert len(await stand.tasks()) == 3


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
    stand.site.clock.advance(CLOCK_SLACK.total_seconds() + 1)
    stand.comment("/agentvine docs by a slow clock", author="eve", at=stand.site.clock.now() - CLOCK_SLACK)
    await named("Ann", "bob", "Eve")
    stand.comment("/agentvine docs by eve", author="eve")
    stand.site.clock.advance(1)
    await named("Ann", "bob", "Eve", "zoe")
    await stand.look(stand.issue())
    assert sorted(task.asked.title for task in await stand.tasks()) == ["by a slow clock", "by ann", "by eve"]
    await named("Ann", "bob")
    stand.comment("/agentvine docs while she was not named", author="eve")
    stand.site.clock.advance(CLOCK_SLACK.total_seconds() + 1)
    await named("Ann", "bob", "Eve")
    await stand.look(stand.issue())
    assert len(await stand.tasks()) == 3


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
