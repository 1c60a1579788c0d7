"""Pull requests looked after, on both databases: what a forge shows becomes work once."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agentvine.domain.errand import ErrandResult, LookAtPull, RunAgain
from agentvine.domain.event import EventKind
from agentvine.domain.forge import ForgeComment
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.pull_followed import PullState
from agentvine.domain.task import TaskStatus
from agentvine.server.errands import FOR_GOOD_SECONDS
from agentvine.store import retention
from agentvine.testing.cast import REPOSITORY, a_task
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire.errands import ErrandClaim
from tests.contract.pull_requests import INJECTED, Play, failing, passed, playing, said, sha


@pytest.fixture
async def play(database_url: str, tmp_path: Path) -> AsyncIterator[Play]:
    async with playing(database_url, tmp_path) as play:
        yield play


async def test_a_check_that_fails_again_goes_back_to_the_same_conversation(play: Play) -> None:
    task = await play.opened()
    assert (await play.shown(task)).state is PullState.OPEN
    await play.looks(checks="pending")
    assert await play.following(task) is None
    ran = await play.looks(**failing(can_run_again=True))
    assert [one for one in ran if isinstance(one, RunAgain)] == [RunAgain(repository=REPOSITORY, check="11")]
    assert await play.following(task) is None, "it may be flaky"
    await play.looks(**failing("12", can_run_again=True))
    first = await play.following(task)
    assert first is not None
    page = await play.sheet(task)
    assert re.search(r"^pull request +open, seen ", page, re.MULTILINE) and re.search(
        r"^checks +failed$", page, re.MULTILINE
    )
    assert f"{first} for checks" in page
    told = await play.told(first)
    assert "assert 1 == 2" in told and "failed again" in told and "pytest" in told
    assert f"````text\nE  assert 1 == 2\n{INJECTED}" in told, "what is in the log is data"
    for _ in range(3):
        await play.looks()
    assert len(await play.desk.comments(first)) == 1, "it is told once"

    claimed = await play.delivers(sha(2), "Repaired.")
    assert claimed.task.id == first
    assert claimed.task.permission_level is PermissionLevel.SUPERVISED
    assert claimed.task.created_by == (await play.desk.task(task)).task.created_by
    assert claimed.grows is not None
    assert (claimed.grows.target, claimed.grows.causes, claimed.grows.summary) == (
        "main",
        ("checks",),
        "Done as asked.",
    )
    assert claimed.grows.work_order_id == (await play.desk.task(task)).order.id
    await play.looks(head_sha=sha(1), **failing("12"))
    assert await play.following(task) is None, "that was seen before the push"
    ran = await play.looks(head_sha=sha(2), **passed())
    assert (await play.shown(task)).checks == "passed"
    assert await play.following(task) is None

    await play.looks(**failing("13"))
    second = await play.following(task)
    assert second not in {None, first}, "no second run is possible, so the work goes on at once"
    await play.delivers(sha(3))
    await play.looks(**failing("14"))
    assert await play.following(task) is None, "two tries are allowed"
    shown = await play.shown(task)
    assert shown.stopped is not None and "2 are allowed" in shown.stopped
    assert re.search(r"^your turn +its checks fail; .*2 are allowed$", await play.sheet(second or ""), re.MULTILINE)
    await play.looks()
    assert len(await play.events(task, EventKind.FOLLOW_UP_STOPPED)) == 1

    await play.looks(comments=(said("c1", body="Try once more, please."),))
    third = await play.following(task)
    assert third is not None, "a person has a say"
    assert (await play.shown(task)).stopped is None
    await play.desk.cancel(third)
    await play.looks()
    assert (await play.shown(third)).stopped is not None, "whoever cancels it leaves the check as it is"
    await play.looks(state="merged")
    shown = await play.shown(task)
    assert (shown.state, shown.gone_on) == (PullState.MERGED, None)
    assert await play.looks() == [], "nobody looks any more"
    assert [event.data["state"] for event in await play.events(task, EventKind.FOLLOW_UP_ENDED)] == ["merged"]


async def test_a_check_that_passes_when_it_runs_again_is_flaky_and_nothing_else(play: Play) -> None:
    task = await play.opened()
    await play.looks(**failing(can_run_again=True))
    await play.looks(checks="pending", failed=())
    await play.looks(**passed())
    await play.looks()
    assert (await play.shown(task)).flaky == ("unit tests",)
    assert await play.following(task) is None
    assert len(await play.events(task, EventKind.FOLLOW_UP_FLAKY)) == 1
    assert len([one for one in play.done if isinstance(one, RunAgain)]) == 1


async def test_a_check_that_the_forge_does_not_run_again_is_taken_for_what_it_is(play: Play) -> None:
    task = await play.opened()
    play.refuses = True
    ran = await play.looks(**failing(can_run_again=True))
    assert [type(one) for one in ran] == [LookAtPull, RunAgain, LookAtPull]
    assert await play.following(task) is not None
    play.site.clock.advance(2 * FOR_GOOD_SECONDS)
    assert not any(isinstance(one, RunAgain) for one in await play.runs()), "nobody asks it again"


async def test_conflicts_and_strangers_pushes_and_a_person_who_goes_on_herself(play: Play) -> None:
    task = await play.opened()
    await play.looks(head_sha=sha(77), conflicts=True, **failing())
    assert await play.following(task) is None, "somebody else pushed onto the branch"
    assert not (await play.shown(task)).ours
    await play.looks(head_sha=sha(1), conflicts=True, checks="none", failed=())
    first = await play.following(task)
    assert first is not None
    claimed = await play.works()
    assert claimed.grows is not None and claimed.grows.causes == ("conflicts",)
    await play.delivers(sha(2), claimed=claimed)
    await play.looks(conflicts=False)

    order = await play.desk.retry(first, m.Retry(comment="Make it shorter."))
    await play.looks(comments=(said("c1"),), **failing())
    assert len(await play.desk.comments(order.task_id)) == 2, "hers, and what was said on the forge"
    claimed = await play.works(heard=2)
    assert claimed.grows is not None and claimed.grows.causes == ()
    failed = await play.hand.fail(claimed)
    while failed.status.value != "failed":
        play.site.clock.advance(600)
        failed = await play.hand.fail(await play.works(heard=2))
    await play.looks()
    assert "failed" in ((await play.shown(task)).stopped or "")
    assert (await play.desk.task(order.task_id)).task.status is TaskStatus.FAILED
    await play.looks(comments=(said("c1"), said("c2", body="Again.")))
    assert (await play.desk.task(order.task_id)).task.status is TaskStatus.PENDING, "her word reopens it"
    await play.looks(state="closed")
    assert (await play.desk.task(order.task_id)).task.status is TaskStatus.CANCELLED


async def test_what_nobody_allowed_is_left_alone(play: Play) -> None:
    elsewhere = "https://git.example/team/unknown.git"
    task = await play.opened(repository=elsewhere)
    assert (await play.desk.task(task)).pull_request is None
    assert await play.looks(**failing()) == []
    known = await play.opened()
    page = await play.desk.repositories()
    changes = adm.RepositoryChanges(settings={"follow_up": {"enabled": False}})
    await play.desk.change_repository(page.items[0].id, changes)
    await play.looks(**failing())
    assert (await play.shown(known)).state is PullState.OFF
    assert await play.looks() == []


async def test_one_that_is_not_shown_for_a_moment_is_not_gone(play: Play) -> None:
    task = await play.opened()
    result = ErrandResult(worker_id=play.hand.id)
    for missing in range(3):
        assert (await play.shown(task)).state is PullState.OPEN, missing
        play.site.clock.advance(timedelta(minutes=5).total_seconds())
        while (given := await play.hand.plane.claim_errand(ErrandClaim(worker_id=play.hand.id))) is not None:
            await play.hand.plane.end_errand(given.id, result)
    assert (await play.shown(task)).state is PullState.GONE


async def test_what_is_followed_keeps_all_the_tasks_of_its_row(play: Play) -> None:
    task = await play.opened()
    asked: tuple[ForgeComment, ...] = ()
    row = [task]
    for number in range(2, 5):
        asked += (said(f"c{number}", body=f"Say {number}."),)
        await play.looks(comments=asked)
        row.append(await play.following(task) or "")
        await play.delivers(sha(number), heard=1)
    gone = await play.desk.retry(row[-1], m.Retry(comment="No."))
    await play.desk.cancel(gone.task_id)
    other = await play.desk.submit(a_task())
    await play.desk.cancel(other.id)
    play.site.clock.advance(100 * 86_400)
    now = play.site.clock.now()
    step = await play.site.database.write(lambda unit: retention.orders(unit, now - timedelta(days=30), now, ""))
    assert step.counts.orders == 1, "the one that belongs to no row"
    await play.looks(comments=(*asked, said("c9", body="Say 9.")))
    claimed = await play.works(heard=1)
    assert claimed.grows is not None
    assert (claimed.grows.target, claimed.grows.work_order_id) == ("main", (await play.desk.task(task)).order.id)
