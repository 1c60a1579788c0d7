"""Questions in the middle of the work: the real Claude Code asks, and the answer reaches it, there or elsewhere."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, ToolCall, Turn
from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.wire import messages as m
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.conclusion import Delivered, Parked
from agentvine.worker.executor import TaskExecutor
from tests.integration.houses import FIXED, REPRODUCING, House, bash, commit, house, turn, workshop, write

TITLE = "Adding is wrong"
ASK = ToolCall(name=ASK_TOOL, input={"question": "Round up?", "context": "I would.", "options": ["yes", "no"]})
ANSWER = m.Reply(verdict="answer", message="no, never round")


def asks() -> Scenario:
    """Commits a file, leaves others and what no result may hold, asks, and finishes with what it was told."""
    return Scenario(
        name="asks",
        match=(TITLE,),
        turns=(
            turn(write("calc.py", FIXED), commit("fix: add")),
            turn(write("tests/test_calc.py", REPRODUCING), bash("echo once >> notes.md")),
            turn(bash("ln -s /usr/bin/python3 python; git init --quiet fixture")),
            turn(ASK),
            turn(
                bash("git status --short; cat notes.md; readlink python; rm -rf python fixture"), commit("test: adding")
            ),
            Turn(text="Adding is right now.", expect=("once", "tests/test_calc.py")),
        ),
    )


async def the_question(h: House) -> WorkerRequest:
    """The one request there is, whatever became of it."""

    async def asked() -> WorkerRequest | None:
        return next(iter((await h.desk.requests(status=None)).items), None)

    found = await eventually(asked, within=240)
    assert found is not None
    return found


def told(h: House) -> bytes:
    return b"".join(request.raw for request in h.model.model.requests)


@pytest.mark.every_case("test_waiting: a rule, a person and a precedent answer")
async def test_a_question_is_answered_while_the_slot_is_held(tmp_path: Path) -> None:
    async with house(tmp_path, asks()) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        claimed = await h.claim(TaskType.BUGFIX)
        running = asyncio.create_task(h.execute(claimed))
        request = await the_question(h)
        assert (request.message, request.context, request.options) == ("Round up?", "I would.", ("yes", "no"))
        await h.desk.respond(request.id, ANSWER)
        conclusion, progress = await running
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.COMPLETED
        assert b"no, never round" in told(h)


async def test_an_order_waits_without_a_slot_and_another_worker_goes_on_at_that_call(tmp_path: Path) -> None:
    async with house(tmp_path, asks()) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        impatient = TaskExecutor(replace(h.shop, request_hold=0.0))
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(claimed, impatient)
        assert isinstance(conclusion, Parked), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.WAITING
        request = await the_question(h)
        draft = await h.desk.diff(claimed.lease.execution_id, draft=True)
        assert "+++ b/calc.py" in draft and "+once" in draft, "what is committed and what is not"
        before = len(h.model.model.requests)
        await h.desk.respond(request.id, ANSWER)

        elsewhere = TaskExecutor(await workshop(tmp_path / "worker", h.model, h.plane))
        again = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(again, elsewhere)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.COMPLETED
        first = h.model.model.requests[before]
        assert b"no, never round" in first.raw, "the model is told the answer, and nothing else was said before"
        assert b"These were not kept: `fixture`" in told(h), "a repository inside the repository"
        assert await h.on_remote("main:notes.md", "show") == "once", "the call before the question ran exactly once"
        subjects = await h.on_remote("main", "log", "--format=%s", "-2")
        assert subjects.splitlines() == ["test: adding", "fix: add"]


async def test_two_questions_at_once_that_nobody_answers_do_not_keep_it_for_ever(tmp_path: Path) -> None:
    other = ToolCall(name=ASK_TOOL, input={"question": "And down?"})
    scenario = Scenario(
        name="asks twice",
        match=(TITLE,),
        turns=(
            turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), commit("fix: add")),
            turn(ASK, other),
            turn(ASK),
            turn(other, text="Then the other."),
            Turn(text="I decided both.", expect=("Nobody answered in time",)),
        ),
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        claimed = await h.claim(TaskType.BUGFIX)
        brief = TaskExecutor(replace(h.shop, request_hold=0.0, request_expiry=60.0))
        conclusion, progress = await h.execute(claimed, brief)
        assert isinstance(conclusion, Parked), conclusion
        await h.report(claimed, conclusion, progress)
        await h.site.pass_time(90)
        assert (await the_question(h)).status is RequestStatus.EXPIRED
        again = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(again, brief)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.COMPLETED


async def test_cancelled_while_it_waits_nothing_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path, asks()) as h:
        task = await h.submit(TaskType.BUGFIX, TITLE)
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(claimed, TaskExecutor(replace(h.shop, request_hold=0.0)))
        await h.report(claimed, conclusion, progress)
        await h.desk.cancel(task.id)
        assert (await the_question(h)).status is RequestStatus.WITHDRAWN
