"""Work that was broken off goes on, and what people say reaches it: the real Claude Code, wherever it runs next."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, ToolCall, Turn
from agentvine.domain.errors import NotFound
from agentvine.domain.execution import Outcome
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.wire import messages as m
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.checkpoint import CHECKPOINT
from agentvine.worker.conclusion import Conclusion, Delivered, Failed, Progress
from agentvine.worker.executor import TaskExecutor
from tests.integration.houses import (
    FIXED,
    REPRODUCING,
    House,
    bash,
    commit,
    house,
    processes_of,
    turn,
    workshop,
    write,
)

TITLE = "Adding is wrong"
SAVING = 100.0
STUCK = turn(bash("touch .git/here; tail -f /dev/null"))
REST = (
    turn(bash("git status --short; cat notes.md"), commit("test: adding")),
    Turn(text="Adding is right now."),
)


def broken_off_at(stuck: Turn) -> Scenario:
    """Commits one file, writes others, is `stuck`, and commits the rest when it goes on."""
    return Scenario(
        name="long",
        match=(TITLE,),
        turns=(
            turn(write("calc.py", FIXED), commit("fix: add")),
            turn(write("tests/test_calc.py", REPRODUCING), bash("echo once >> notes.md")),
            stuck,
            *REST,
        ),
    )


def told(h: House, since: int = 0) -> str:
    """What the model was sent from that request on."""
    return "\n".join(request.raw.decode() for request in list(h.model.model.requests)[since:])


async def begun(
    h: House, claimed: m.Claimed, executor: TaskExecutor | None = None
) -> tuple[asyncio.Task[Conclusion], Progress]:
    progress = Progress(claimed, h.plane)
    return asyncio.create_task((executor or h.executor).execute(claimed, progress)), progress


async def stuck(h: House, claimed: m.Claimed) -> None:
    """Wait until the agent is in the middle of its command."""
    place = h.root / "worker" / "executions" / claimed.lease.execution_id
    await eventually(lambda: (place / "workspace" / ".git" / "here").exists(), within=240)


async def ended(running: asyncio.Task[Conclusion]) -> None:
    with suppress(asyncio.CancelledError):
        await running


async def test_a_drained_worker_keeps_what_was_done_and_another_goes_on_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, broken_off_at(STUCK)) as h:
        task = await h.submit(TaskType.BUGFIX, TITLE)
        first = await h.claim(TaskType.BUGFIX)
        running, progress = await begun(h, first)
        await stuck(h, first)
        place = h.root / "worker" / "executions" / first.lease.execution_id
        progress.leave_by = asyncio.get_running_loop().time() + SAVING
        running.cancel()
        await ended(running)
        assert running.cancelled()
        assert not processes_of(place)
        assert not place.exists()
        surrender = m.Surrender(token=first.lease.token, usage=progress.usage)
        assert (await h.plane.release(first.order.id, surrender)).charged == 0
        await h.desk.comment(task.id, m.NewComment(text="Sign it with a plus."))
        before = len(h.model.model.requests)

        elsewhere = TaskExecutor(await workshop(tmp_path / "worker", h.model, h.plane))
        again = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(again, elsewhere)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.COMPLETED
        heard = list(h.model.model.requests)[before].raw.decode()
        assert "Your files are as you left them" in heard
        assert "had to stop" in heard
        assert "Sign it with a plus." in heard
        assert heard.count("Your task: ") == 1, "the opening is not said again"
        assert "A  notes.md" in told(h, before), "what was not committed is there, and is not committed"
        assert await h.on_remote("main:notes.md", "show") == "once", "what ran before did not run again"
        log = await h.on_remote("main", "log", "--format=%s", "-2")
        assert log.splitlines() == ["test: adding", "fix: add"]
        executions = (await h.desk.task(task.id)).executions
        assert [one.outcome for one in executions] == [Outcome.RELEASED, Outcome.COMPLETED]
        assert executions[0].session_id == executions[1].session_id
        assert executions[1].comments_heard == 1


async def test_a_worker_lost_while_it_holds_a_question_costs_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    ask = ToolCall(name=ASK_TOOL, input={"question": "Round up?"})
    async with house(tmp_path, broken_off_at(turn(ask))) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        first = await h.claim(TaskType.BUGFIX)
        running, _ = await begun(h, first, TaskExecutor(replace(h.shop, checkpoint_seconds=0.2)))

        async def asked() -> tuple[object, ...]:
            return (await h.desk.requests()).items

        await eventually(asked, within=240)
        await stored(h, first)
        running.cancel()  # nobody says that it may store anything, as if the host were gone
        await ended(running)
        (request,) = (await h.desk.requests()).items
        await h.desk.respond(request.id, m.Reply(verdict="answer", message="no, never round"))
        await h.site.pass_time(300)
        before = len(h.model.model.requests)

        again = await h.claim(TaskType.BUGFIX)
        assert again.earlier is not None
        assert again.earlier.execution.outcome is Outcome.LOST
        conclusion, progress = await h.execute(again)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.COMPLETED
        heard = list(h.model.model.requests)[before].raw.decode()
        assert "was lost" in heard
        assert "Your files are as of" in heard
        assert "no, never round" in heard
        assert len((await h.desk.requests(status=None)).items) == 1, "it was not asked twice"
        assert await h.on_remote("main:notes.md", "show") == "once"


async def stored(h: House, claimed: m.Claimed) -> None:
    """Wait until the server has the transcript up to the question, and a checkpoint with the last file before it."""

    async def heard() -> bool:
        page = await h.desk.transcript(claimed.lease.execution_id)
        return any(ASK_TOOL in str(entry.get("message")) for entry in page.entries)

    async def kept() -> bool:
        with suppress(NotFound):
            bundle = h.root / "checkpoint.bundle"
            bundle.write_bytes(await h.plane.artifact(claimed.lease.execution_id, CHECKPOINT))
            await h.repository.git("fetch", "--quiet", str(bundle), "HEAD")
            return "notes.md" in await h.repository.git("ls-tree", "--name-only", "FETCH_HEAD")
        return False

    await eventually(heard)
    await eventually(kept)


async def test_comments_reach_claude_while_it_works_and_when_it_is_done(tmp_path: Path) -> None:
    scenario = Scenario(
        name="talks",
        match=(TITLE,),
        turns=(
            turn(bash("touch .git/here; while [ ! -e .git/go ]; do sleep 0.05; done")),
            turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), commit("fix: add")),
            Turn(text="I am done.", hang_seconds=8.0),
            turn(bash("echo late >> notes.md"), commit("docs: notes")),
            Turn(text="Now I am."),
        ),
    )
    async with house(tmp_path, scenario) as h:
        task = await h.submit(TaskType.BUGFIX, TITLE)
        await h.desk.comment(task.id, m.NewComment(text="The earliest."))
        claimed = await h.claim(TaskType.BUGFIX)
        running, progress = await begun(h, claimed)
        await stuck(h, claimed)
        assert "The earliest." in told(h)
        await h.desk.comment(task.id, m.NewComment(text="In the middle."))
        workspace = h.root / "worker" / "executions" / claimed.lease.execution_id / "workspace"
        (workspace / ".git" / "go").touch()
        await eventually(lambda: len(h.model.model.requests) >= 3, within=240)
        await h.desk.comment(task.id, m.NewComment(text="At the very last."))
        conclusion = await running
        assert isinstance(conclusion, Delivered), conclusion
        await h.report(claimed, conclusion, progress)
        bodies = [request.raw.decode() for request in h.model.model.requests]
        assert "In the middle." in bodies[2], "with a result of the next turn, at the latest"
        assert "At the very last." not in bodies[2]
        assert sum("At the very last." in body for body in bodies) == len(bodies) - 3
        assert all(body.count("In the middle.") <= 1 for body in bodies)
        (execution,) = (await h.desk.task(task.id)).executions
        assert execution.comments_heard == 3
        assert await h.on_remote("main:notes.md", "show") == "late"


@pytest.mark.every_case("test_handing_over: a person has it tried again")
async def test_a_failed_task_goes_on_with_a_comment(tmp_path: Path) -> None:
    scenario = Scenario(
        name="forgets the test",
        match=(TITLE,),
        turns=(
            turn(write("calc.py", FIXED), commit("fix: add")),
            Turn(text="I think that is all."),
            turn(write("tests/test_calc.py", REPRODUCING), commit("test: adding"), when="Add a test."),
            Turn(text="Now there is a test."),
        ),
    )
    async with house(tmp_path, scenario) as h:
        task = await h.submit(TaskType.BUGFIX, TITLE)
        first = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(first, TaskExecutor(replace(h.shop, max_repairs=0)))
        assert isinstance(conclusion, Failed), conclusion
        assert (await h.report(first, conclusion, progress)).status is OrderStatus.FAILED
        before = len(h.model.model.requests)
        await h.desk.retry(task.id, m.Retry(comment="Add a test."))
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        assert "had failed (verification_failed)" in told(h, before)
        assert "I think that is all." in told(h, before), "it is the same conversation"
        log = await h.on_remote("main", "log", "--format=%s", "-2")
        assert log.splitlines() == ["test: adding", "fix: add"]


@pytest.mark.every_case("test_follow_up: from a failing check to the merge; the conformance suite: people send it back")
async def test_a_completed_task_is_followed_by_one_that_lets_its_branch_grow(tmp_path: Path) -> None:
    title = "Say how"
    scenario = Scenario(
        name="docs",
        match=(title,),
        turns=(
            turn(write("README.md", "# Calc\n\nIt adds.\n"), commit("docs: say how")),
            Turn(text="It is said."),
            turn(write("USAGE.md", "# Usage\n\nAdd.\n"), commit("docs: usage"), when="a page of its own"),
            Turn(text="Usage has a page."),
        ),
    )
    async with house(tmp_path, scenario) as h:
        task = await h.submit(TaskType.DOCS, title, permission_level="supervised")
        _, conclusion, done = await h.carry_out(TaskType.DOCS)
        assert isinstance(conclusion, Delivered), conclusion
        delivered = conclusion.delivery
        assert delivered.kind == "branch"
        before = len(h.model.model.requests)

        await h.desk.retry(task.id, m.Retry(comment="Usage deserves a page of its own."))
        claimed, conclusion, order = await h.carry_out(TaskType.DOCS)
        assert order.status is OrderStatus.COMPLETED
        assert isinstance(conclusion, Delivered), conclusion
        assert claimed.task.asked.follows == task.id
        grown = conclusion.delivery
        assert (grown.kind, grown.branch, grown.old_sha) == ("branch", delivered.branch, delivered.new_sha)
        assert await h.on_remote(grown.branch, "rev-parse") == grown.new_sha
        log = await h.on_remote(grown.branch, "log", "--format=%s", "-2")
        assert log.splitlines() == ["docs: usage", "docs: say how"]
        first = list(h.model.model.requests)[before].raw.decode()
        assert "It is said." in first, "it is the same conversation"
        assert "Usage deserves a page of its own." in first
        assert f"onto `{delivered.branch}`" in first
        assert (await h.desk.work_order(done.id)) == done
        assert await h.on_remote("--list", "branch", "agentvine/*") == delivered.branch
