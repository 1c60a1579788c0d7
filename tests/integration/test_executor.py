"""Whole executions: a real server, real git remotes, the real Claude Code against a scripted model."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.script import Usage as Tokens
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.execution import Outcome, Phase
from agentvine.domain.ids import new_id
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.boxes import boxes_here
from agentvine.testing.databases import sqlite_database
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.access import Offer
from agentvine.worker.agent.base import ModelAccess, Watchdog
from agentvine.worker.agent.boxed import claude_in
from agentvine.worker.checkpoint import CHECKPOINT
from agentvine.worker.conclusion import Conclusion, Delivered, Failed, Parked, Progress
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.forge.choice import Forges
from agentvine.worker.git import Git
from agentvine.worker.job import Workshop
from agentvine.worker.mirror import Mirrors
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind
from agentvine.worker.spares import Spares
from agentvine.worker.toolchain import Toolchain
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.verify import Verifier

KEY = "sk-ant-a-key-that-must-not-be-told"
CODE = "def add(a, b):\n    return a - b\n"
FILES = {
    "calc.py": CODE,
    "tests/test_calc.py": "from calc import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n",
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    "README.md": "# Calc\n",
    "CLAUDE.md": "Write short functions.\n",
}
FIXED = "def add(a, b):\n    return a + b\n"
REPRODUCING = FILES["tests/test_calc.py"] + "\n\ndef test_one():\n    assert add(1, 1) == 2\n"


def write(path: str, content: str) -> ToolCall:
    return ToolCall(name="Write", input={"file_path": f"{{workspace}}/{path}", "content": content})


def bash(command: str) -> ToolCall:
    return ToolCall(name="Bash", input={"command": command, "description": "Do it"})


def commit(message: str) -> ToolCall:
    return bash(f"git add -A && git commit -qm '{message}'")


def turn(*calls: ToolCall, text: str = "I am at it.", when: str | None = None) -> Turn:
    return Turn(text=text, tool_calls=calls, when=when)


def fixes(title: str = "Adding is wrong") -> Scenario:
    done = turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), commit("fix: add"))
    return Scenario(name=title, match=(title,), turns=(done, Turn(text="Adding is right now.")))


@dataclass
class House:
    """A server, a remote, a model and one worker's executor."""

    root: Path
    site: InProcessSite
    plane: ControlPlane
    desk: FrontDesk
    repository: GitRepository
    remote: Path
    model: RunningModel
    executor: TaskExecutor
    shop: Workshop

    async def submit(self, kind: TaskType, title: str, **changes: object) -> Task:
        fields = {"type": kind, "title": title, "repository": str(self.remote), "branch": "main", **changes}
        return await self.desk.submit(NewTask.model_validate(fields))

    async def claim(self, kind: TaskType) -> m.Claimed:
        worker = f"wrk_{kind.value}"
        await self.plane.register(m.Registration(id=worker, name=worker, worker_type=kind, version="1"))
        execution = new_id("exe", SystemClock().now())
        claimed = await self.plane.claim(m.ClaimRequest(worker_id=worker, execution_id=execution))
        assert claimed is not None
        await self.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        return claimed

    async def execute(self, claimed: m.Claimed, executor: TaskExecutor | None = None) -> tuple[Conclusion, Progress]:
        progress = Progress(claimed, self.plane)
        conclusion = await (executor or self.executor).execute(claimed, progress)
        places = self.root / "worker" / "executions"
        assert list(places.iterdir()) == []
        return conclusion, progress

    async def report(self, claimed: m.Claimed, conclusion: Conclusion, progress: Progress) -> WorkOrder:
        """As the pool does."""
        order, token = claimed.order.id, claimed.lease.token
        match conclusion:
            case Delivered():
                done = m.Completion(
                    token=token, delivery=conclusion.delivery, usage=progress.usage, summary=conclusion.summary
                )
                await self.plane.complete(order, done)
            case Failed():
                report = m.FailureReport(token=token, failure=conclusion.failure, usage=progress.usage)
                await self.plane.fail(order, report)
            case Parked():
                await self.plane.park(order, m.Parking(token=token, request=conclusion.request, usage=progress.usage))
        return await self.desk.work_order(order)

    async def carry_out(self, kind: TaskType) -> tuple[m.Claimed, Conclusion, WorkOrder]:
        """Claim, execute, report."""
        claimed = await self.claim(kind)
        conclusion, progress = await self.execute(claimed)
        return claimed, conclusion, await self.report(claimed, conclusion, progress)

    async def on_remote(self, branch: str, *args: str) -> str:
        return (await git(*args, branch, cwd=self.remote)).strip()

    async def push_by_somebody(self, files: Mapping[str, str]) -> str:
        """Somebody else pushes onto main."""
        await self.repository.git("pull", "--quiet", str(self.remote), "main")
        sha = await self.repository.commit(files, "feat: meanwhile")
        await self.repository.git("push", "--quiet", str(self.remote), "HEAD:main")
        return sha


@asynccontextmanager
async def house(
    root: Path,
    *scenarios: Scenario,
    files: Mapping[str, str | bytes] | None = None,
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP,
    limits: Limits | None = None,
    offer: Offer | None = None,
    policy: Path | None = None,
    max_repairs: int = 3,
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(in_process_site(sqlite_database(root), root, policy=policy))
        model = await stack.enter_async_context(serve(Script(scenarios=scenarios)))
        repository = await GitRepository.create(root / "origin", files or FILES)
        remote = await repository.bare_copy(root / "remote.git")
        plane, desk = await site.worker_plane(), await site.front_desk()
        shop = await workshop(root / "worker", model, plane, sandbox, limits)
        shop = replace(shop, offer=offer or Offer(), max_repairs=max_repairs)
        yield House(root, site, plane, desk, repository, remote, model, TaskExecutor(shop), shop)
        assert model.model.failures == []


async def workshop(
    root: Path,
    model: RunningModel,
    plane: ControlPlane,
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP,
    limits: Limits | None = None,
) -> Workshop:
    clock, toolchain, gitter = SystemClock(), Toolchain.of_this_worker(), Git(root / "home")
    boxes = await boxes_here(sandbox, limits)
    return Workshop(
        root=root,
        agent_in=partial(claude_in, max_retries=0),
        git=gitter,
        mirrors=Mirrors(gitter, root / "mirrors"),
        spares=Spares(root / "spares"),
        boxes=boxes,
        verifier=Verifier(
            boxes,
            BaseResults(root / "base-results"),
            clock,
            surroundings=toolchain.path,
            longest=240,
            inquiries=(),  # they are tried where results are judged, and cost several runs of the tests each time
        ),
        forges=Forges((), NoCredentials(), clock),
        queue=QueueClient(plane, None, "wrk_bugfix", clock),
        clock=clock,
        model=ModelAccess(model.url, KEY),
        watchdog=Watchdog(first_message=240, idle=240, after_result=60, total=240),
        environment=toolchain.environment(),
    )


# ── the six types ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bugfix_is_proven_and_pushed(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        task = await h.submit(TaskType.BUGFIX, "Adding is wrong")
        base = await h.repository.head()
        claimed, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        head = await h.on_remote("main", "rev-parse")
        assert (conclusion.delivery.kind, conclusion.delivery.branch) == ("push", "main")
        assert (conclusion.delivery.old_sha, conclusion.delivery.new_sha) == (base, head)
        assert conclusion.summary == "Adding is right now."
        assert await h.on_remote("main:calc.py", "show") == FIXED.strip()
        message = await h.on_remote("main", "log", "-1", "--format=%B")
        assert message.startswith("fix: add")
        assert f"AgentVine-Task: {task.id}" in message
        assert f"AgentVine-Execution: {claimed.lease.execution_id}" in message
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.passed
        assert evidence.tests_before is not None
        assert evidence.tests_after is not None
        assert (evidence.tests_before.total, evidence.tests_after.total) == (1, 2)
        (reproduced,) = [check for check in evidence.checks if check.name == "a test reproduces the bug"]
        assert "test_one" in reproduced.why
        execution = await h.desk.execution(claimed.lease.execution_id)
        assert execution.outcome is Outcome.COMPLETED
        assert execution.usage.cost_usd > 0
        assert execution.session_id
        assert "+    return a + b" in await h.desk.diff(execution.id)
        page = await h.desk.transcript(execution.id)
        assert any(entry.get("type") == "assistant" for entry in page.entries)
        sent = str([request.body for request in h.model.model.requests])
        assert "Write short functions." in sent
        assert KEY not in str(page.entries)


async def test_a_feature_goes_onto_a_branch_of_its_own(tmp_path: Path) -> None:
    new = "from calc import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    done = turn(write("calc.py", CODE + "\n\ndef twice(a):\n    return 2 * a\n"), write("tests/test_twice.py", new))
    scenario = Scenario(name="feature", match=("Double it",), turns=(done, Turn(text="Doubled.")))
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.FEATURE, "Double it!  Très vite")
        claimed, conclusion, order = await h.carry_out(TaskType.FEATURE)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        branch = conclusion.delivery.branch
        assert branch == f"agentvine/feature/{claimed.task.id[-8:]}-double-it-tr-s-vite"
        assert conclusion.delivery.kind == "branch"
        assert await h.on_remote(branch, "rev-parse") == conclusion.delivery.new_sha
        assert await h.on_remote("main", "rev-parse") == await h.repository.head()
        message = await h.on_remote(branch, "log", "-1", "--format=%s")
        assert message == "feat: Double it! Très vite"


async def test_tests_are_added(tmp_path: Path) -> None:
    more = FILES["tests/test_calc.py"] + "\n\ndef test_minus():\n    assert add(1, 1) == 0\n"
    scenario = Scenario(
        name="test", match=("More tests",), turns=(turn(write("tests/test_calc.py", more)), Turn(text="ok"))
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.TEST, "More tests")
        _, conclusion, _ = await h.carry_out(TaskType.TEST)
        assert isinstance(conclusion, Delivered), conclusion
        assert conclusion.delivery.kind == "push"


async def test_documentation_is_written(tmp_path: Path) -> None:
    scenario = Scenario(
        name="docs", match=("Say how",), turns=(turn(write("README.md", "# Calc\n\nIt adds.\n")), Turn(text="ok"))
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.DOCS, "Say how")
        _, conclusion, _ = await h.carry_out(TaskType.DOCS)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.on_remote("main", "log", "-1", "--format=%s")).startswith("docs: ")


async def test_a_refactoring_keeps_the_base_s_tests(tmp_path: Path) -> None:
    tidy = "def add(a, b):\n    difference = a - b\n    return difference\n"
    weakened = "from calc import add\n\n\ndef test_zero():\n    assert add is not None\n"
    done = turn(write("calc.py", tidy), write("tests/test_calc.py", weakened), commit("refactor: name it"))
    scenario = Scenario(name="refactor", match=("Name things",), turns=(done, Turn(text="ok")))
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.REFACTOR, "Name things")
        claimed, conclusion, _ = await h.carry_out(TaskType.REFACTOR)
        assert isinstance(conclusion, Delivered), conclusion
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert "the base's own tests pass on the result" in {check.name for check in evidence.checks}


async def test_a_review_reports_findings(tmp_path: Path) -> None:
    finding = {
        "file": "calc.py",
        "line": 5,
        "severity": "high",
        "title": "It subtracts",
        "why": "a - b",
        "fix": "a + b",
    }
    lost = {**finding, "file": "README.md", "line": 1}
    first = ToolCall(name="StructuredOutput", input={"summary": "Read it.", "findings": [lost]})
    second = ToolCall(name="StructuredOutput", input={"summary": "Read it all.", "findings": [finding]})
    scenario = Scenario(
        name="review",
        match=("Look at it", "is the change from"),
        turns=(turn(first), Turn(text="again", tool_calls=(second,), when="does not touch this file")),
    )
    async with house(tmp_path, scenario) as h:
        since = await h.repository.head()
        topic = await h.repository.commit({"calc.py": f"import os\n\n\n{CODE}"})
        await h.repository.git("push", "--quiet", str(h.remote), "HEAD:topic")
        await h.submit(TaskType.REVIEW, "Look at it", branch="topic")
        claimed, conclusion, order = await h.carry_out(TaskType.REVIEW)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        assert conclusion.delivery.kind == "report"
        assert conclusion.summary == "Read it all."
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert [(one.title, one.source) for one in evidence.findings] == [
            ("It subtracts", "claude"),
            ("`os` imported but unused", "ruff:F401"),
        ]
        assert (evidence.reviewed_since, evidence.base_sha) == (since, topic)
        assert evidence.repairs == 1
        report = (await h.plane.artifact(claimed.lease.execution_id, "review.md")).decode()
        assert "`calc.py:5` (claude)" in report
        ran = next(check for check in evidence.checks if check.name == "analysers really ran")
        assert "ruff" in ran.why, ran
        assert "bandit" in ran.why, ran
        sarif = json.loads(await h.plane.artifact(claimed.lease.execution_id, "review.sarif"))
        assert sarif["runs"][0]["results"][0]["message"]["text"].startswith("It subtracts")
        assert await h.on_remote("main", "rev-parse") == since
        assert await h.on_remote("topic", "rev-parse") == topic


# ── what is not good enough ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_result_that_falls_short_is_repaired_in_the_same_conversation(tmp_path: Path) -> None:
    first = turn(write("calc.py", FIXED), commit("fix: add"))
    repair = turn(write("tests/test_calc.py", REPRODUCING), commit("test: add"), when="a test reproduces the bug")
    turns = (first, Turn(text="Done, I think."), repair, Turn(text="Now it is proven."))
    async with house(tmp_path, Scenario(name="bugfix", match=("Adding is wrong",), turns=turns)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert conclusion.summary == "Now it is proven."
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.repairs == 1
        assert evidence.usage.turns == 4


async def test_what_stays_unproven_is_not_delivered(tmp_path: Path) -> None:
    wrong = turn(write("calc.py", "def add(a, b):\n    return 7\n"), commit("fix: add"))
    turns = (wrong, Turn(text="0"), Turn(text="1", when="repair 1 of at most 1"))
    scenario = Scenario(name="bugfix", match=("Adding is wrong",), turns=turns)
    async with house(tmp_path, scenario, max_repairs=1) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        base = await h.repository.head()
        claimed, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.VERIFICATION_FAILED
        assert "test_zero" in conclusion.failure.detail
        assert order.status is OrderStatus.FAILED
        assert await h.on_remote("main", "rev-parse") == base
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert not evidence.passed
        failed = {check.name for check in evidence.checks if check.outcome is CheckOutcome.FAILED}
        assert failed == {"tests pass", "what was green is green", "a test reproduces the bug"}


async def test_nothing_done_is_no_result(tmp_path: Path) -> None:
    scenario = Scenario(name="idle", match=("Adding is wrong",), turns=(Turn(text="All done!"),), repeat_last=True)
    async with house(tmp_path, scenario, max_repairs=1) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.NO_CHANGES


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"repository": "file:///nowhere/at/all.git"}, FailureReason.REPOSITORY_NOT_FOUND, ""),
        ({"branch": "mian"}, FailureReason.BRANCH_NOT_FOUND, "did you mean main"),
    ],
)
async def test_what_cannot_be_had_is_said(
    tmp_path: Path, changes: dict[str, str], reason: FailureReason, said: str
) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", **changes)
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is reason
        assert said in conclusion.failure.detail
        assert order.status is OrderStatus.FAILED
        assert h.model.model.requests == h.model.model.requests.__class__(maxlen=1000)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[test]\ncomand = 'x'\n", "/test/comand"),
        ("[setup]\ncommand = 'echo not today; exit 3'\n", "not today"),
    ],
)
async def test_a_repository_that_cannot_be_set_up(tmp_path: Path, toml: str, said: str) -> None:
    async with house(tmp_path, fixes(), files={**FILES, ".agentvine.toml": toml}) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.SETUP_FAILED
        assert said in conclusion.failure.detail


async def test_a_base_that_cannot_be_tested_ends_it_before_the_model_is_paid_for_more(tmp_path: Path) -> None:
    files = {**FILES, ".agentvine.toml": "[test]\ncommand = 'not-there-at-all'\n"}
    waits = Scenario(name="waits", match=("Adding is wrong",), turns=(turn(bash("tail -f /dev/null")),))
    async with house(tmp_path, waits, files=files) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        patient = TaskExecutor(replace(h.shop, watchdog=Watchdog(240, 240, 10, 240)))
        conclusion, _ = await h.execute(await h.claim(TaskType.BUGFIX), patient)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.SETUP_FAILED
        assert "cannot be started" in conclusion.failure.detail


# ── a person decides ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_needs_a_person_waits_and_leaves_when_approved(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="human_required")
        base = await h.repository.head()
        first, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked)
        assert order.status is OrderStatus.WAITING
        assert "a test reproduces the bug: passed" in conclusion.request.context
        assert (await git("branch", cwd=h.remote)).split() == ["*", "main"]
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="approved"))
        asked = len(h.model.model.requests)
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        assert conclusion.delivery.kind == "branch"
        assert conclusion.summary == "Adding is right now."
        assert len(h.model.model.requests) == asked  # nobody asked Claude again
        branch = conclusion.delivery.branch
        assert await h.on_remote(branch, "rev-parse") == conclusion.delivery.new_sha
        assert f"AgentVine-Execution: {first.lease.execution_id}" in await h.on_remote(
            branch, "log", "-1", "--format=%B"
        )
        assert await h.on_remote("main", "rev-parse") == base


async def test_a_comment_brings_claude_back_to_work(tmp_path: Path) -> None:
    change = turn(bash("echo '# Calc adds' > README.md"), commit("docs: say so"), when="Say it in the README")
    scenario = fixes()
    scenario = scenario.model_copy(update={"turns": (*scenario.turns, change, Turn(text="Said."))})
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="human_required")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked)
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="denied", message="Say it in the README, too."))
        second, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked), conclusion
        assert order.status is OrderStatus.WAITING
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="approved"))
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        branch = conclusion.delivery.branch
        assert await h.on_remote(f"{branch}:README.md", "show") == "# Calc adds"
        assert await h.on_remote(f"{branch}:calc.py", "show") == FIXED.strip()
        page = await h.desk.transcript(second.lease.execution_id)
        assert "Adding is right now." in str(page.entries)
        assert "Said." in str(page.entries)


async def test_a_plain_no_is_the_end_until_somebody_says_what_is_to_be_different(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        task = await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="human_required")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked)
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="denied"))
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.DENIED
        assert order.status is OrderStatus.FAILED
        await h.desk.retry(task.id, m.Retry(comment="Say it in the notes."))
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked), conclusion
        assert b"Say it in the notes." in h.model.model.requests[-1].raw


# ── others push, workers die ─────────────────────────────────────────────────────────────────────────────────────────


async def test_what_others_pushed_meanwhile_is_kept_and_the_result_verified_on_top(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)
        pushed: list[str] = []

        async def deliver(order: str, intent: m.DeliveryIntent) -> object:
            if not pushed:
                pushed.append(await h.push_by_somebody({"other.py": "x = 1\n"}))
            return await h.plane.deliver(order, intent)

        progress.plane = _With(h.plane, deliver=deliver)  # type: ignore[assignment]
        conclusion = await h.executor.execute(claimed, progress)
        assert isinstance(conclusion, Delivered), conclusion
        order = await h.report(claimed, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        assert conclusion.delivery.old_sha == pushed[0]
        assert await h.on_remote("main~1", "rev-parse") == pushed[0]
        assert await h.on_remote("main:other.py", "show") == "x = 1"
        assert await h.on_remote("main:calc.py", "show") == FIXED.strip()
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert (evidence.base_sha, evidence.head_sha) == (pushed[0], conclusion.delivery.new_sha)


async def test_a_clash_with_others_is_left_to_a_person(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def deliver(order: str, intent: m.DeliveryIntent) -> object:
            await h.push_by_somebody({"calc.py": "def add(a, b):\n    return b + a\n"})
            return await h.plane.deliver(order, intent)

        progress.plane = _With(h.plane, deliver=deliver)  # type: ignore[assignment]
        conclusion = await h.executor.execute(claimed, progress)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.BRANCH_MOVED
        assert "calc.py" in conclusion.failure.detail


class _With:
    """A control plane that is the real one but for what a test puts in its way."""

    def __init__(self, plane: ControlPlane, **instead: object) -> None:
        self._plane = plane
        self._instead = instead

    def __getattr__(self, name: str) -> object:
        return self._instead.get(name) or getattr(self._plane, name)


class _Died(Exception):
    """The worker is gone, in the middle of a line."""


@pytest.mark.parametrize("level", ["autonomous", "supervised"])
@pytest.mark.parametrize("pushed", [False, True])
async def test_whoever_comes_after_a_dead_worker_only_delivers(tmp_path: Path, level: str, pushed: bool) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level=level)
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def dies(order: str, intent: m.DeliveryIntent) -> object:
            await h.plane.deliver(order, intent)
            raise _Died

        if pushed:
            conclusion, _ = await h.execute(claimed)
            assert isinstance(conclusion, Delivered), conclusion
        else:
            progress.plane = _With(h.plane, deliver=dies)  # type: ignore[assignment]
            with pytest.raises(_Died):
                await h.executor.execute(claimed, progress)
        asked = len(h.model.model.requests)
        await h.site.pass_time(300)  # nobody renews: the order goes to somebody else
        elsewhere = TaskExecutor(await workshop(tmp_path / "worker", h.model, h.plane))
        second = await h.claim(TaskType.BUGFIX)
        assert second.earlier is not None
        assert second.earlier.verified
        conclusion, progress = await h.execute(second, elsewhere)
        assert isinstance(conclusion, Delivered), conclusion
        order = await h.report(second, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        assert len(h.model.model.requests) == asked
        assert await h.on_remote(conclusion.delivery.branch, "rev-parse") == conclusion.delivery.new_sha
        log = await h.on_remote(conclusion.delivery.branch, "log", "--format=%B")
        assert log.count("AgentVine-Task") == 1
        assert f"AgentVine-Execution: {claimed.lease.execution_id}" in log


async def test_what_is_lost_before_it_is_stored_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def dies(execution_id: str, token: int, name: str, content: bytes) -> None:
            if not name.startswith(CHECKPOINT):
                raise _Died
            await h.plane.store_artifact(execution_id, token, name, content)

        progress.plane = _With(h.plane, store_artifact=dies)  # type: ignore[assignment]
        with pytest.raises(_Died):
            await h.executor.execute(claimed, progress)
        await h.site.pass_time(300)
        before = len(h.model.model.requests)
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert len(h.model.model.requests) == before + 1, "nothing of it is done again"
        assert b"was lost" in h.model.model.requests[-1].raw


async def test_a_second_order_on_a_base_does_not_test_it_again(tmp_path: Path) -> None:
    files = {**FILES, "tests/conftest.py": f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"}
    docs = Scenario(
        name="docs", match=("Say how",), turns=(turn(write("README.md", "# Calc\n\nIt adds.\n")), Turn(text="ok"))
    )
    async with house(tmp_path, docs, files=files, sandbox=SandboxKind.NONE) as h:  # in a sandbox nobody could count
        for _ in range(2):
            await h.submit(TaskType.DOCS, "Say how", permission_level="supervised")
            _, conclusion, _ = await h.carry_out(TaskType.DOCS)
            assert isinstance(conclusion, Delivered), conclusion
        assert (tmp_path / "runs").read_text() == "xxx"


async def test_a_budget_that_is_used_up_ends_it(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, _ = await h.execute(claimed.model_copy(update={"budget_left_usd": 0.0}))
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.BUDGET_EXCEEDED
        assert not h.model.model.requests


async def test_an_order_that_is_lost_is_not_delivered(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        base = await h.repository.head()
        claimed = await h.claim(TaskType.BUGFIX)

        def lost() -> None:
            raise _Died

        with pytest.raises(_Died):
            await h.executor.execute(claimed, Progress(claimed, h.plane, ensure_held=lost))
        assert await h.on_remote("main", "rev-parse") == base


async def test_cancelled_it_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    busy = turn(bash("setsid nohup tail -f /dev/null >/dev/null 2>&1 & touch here; tail -f /dev/null"))
    async with house(tmp_path, Scenario(name="busy", match=("Adding is wrong",), turns=(busy,))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        running = asyncio.create_task(h.executor.execute(claimed, Progress(claimed, h.plane)))
        place = tmp_path / "worker" / "executions" / claimed.lease.execution_id
        await eventually(lambda: (place / "workspace" / "here").exists())
        assert processes_of(place)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes_of(place)
        assert list(place.parent.iterdir()) == []


def processes_of(place: Path) -> list[int]:
    """The processes that know of this place by their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if str(place).encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


async def test_places_of_dead_workers_are_removed(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        left = tmp_path / "worker" / "executions" / "exe_gone"
        (left / "workspace").mkdir(parents=True)
        left.with_name("exe_gone.lock").touch()
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered)
        assert not left.exists()


async def test_a_place_can_be_kept_to_look_into(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        keeps = TaskExecutor(replace(h.shop, keep_places=True))
        await keeps.execute(claimed, Progress(claimed, h.plane))
        kept = tmp_path / "worker" / "executions" / claimed.lease.execution_id
        assert (kept / "workspace" / "calc.py").read_text() == FIXED


# ── the sandbox ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_agent_and_the_tests_run_confined_and_the_evidence_says_how(tmp_path: Path) -> None:
    """Both look for the worker's key and its folders; neither finds any, and both find the workspace where it is."""
    look = "pwd; env; ls -a / /home /root 2>&1; ls " + str(tmp_path / "origin")
    done = turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), bash(look), commit("fix: add"))
    seeing = Scenario(
        name="seeing",
        match=("Adding is wrong",),
        turns=(done, Turn(text="done", expect=("/workspace", "held-outside", "No such file"))),
    )
    probe = f"import os\n\n\ndef test_confined():\n    assert not os.path.exists({str(tmp_path / 'origin')!r})\n"
    files = {**FILES, "tests/test_place.py": probe + "    assert 'ANTHROPIC_API_KEY' not in os.environ\n"}
    async with house(tmp_path, seeing, files=files) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.sandbox.startswith("bubblewrap")
        assert evidence.usage.cost_usd > 0
        model = [contact for contact in evidence.egress if contact.way == "model"]
        assert model
        assert all(contact.allowed for contact in model)
        heard = b"".join(request.raw for request in h.model.model.requests)
        assert KEY.encode() not in heard
        assert {request.headers["x-api-key"] for request in h.model.model.requests} == {KEY}


async def test_without_a_sandbox_the_evidence_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, fixes(), sandbox=SandboxKind.NONE) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.sandbox.startswith("none")
        assert evidence.usage.cost_usd > 0


async def test_an_agent_that_goes_over_a_limit_ends_with_that_reason(tmp_path: Path) -> None:
    greedy = turn(bash("for i in $(seq 20); do head -c 20000000 /dev/zero > f$i; done; tail -f /dev/null"))
    scenario = Scenario(name="greedy", match=("Adding is wrong",), turns=(greedy,))
    async with house(tmp_path, scenario, limits=Limits(disk_bytes=100 << 20)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.LIMIT_EXCEEDED
        assert "limit on disk" in conclusion.failure.detail
        assert order.status is OrderStatus.FAILED


async def test_tests_that_go_over_a_limit_end_it_too(tmp_path: Path) -> None:
    flood = (
        "import signal\n\n\ndef test_flood():\n    open('big', 'wb').write(b'x' * (200 << 20))\n    signal.pause()\n"
    )
    files = {**FILES, "tests/test_flood.py": flood}
    async with house(tmp_path, fixes(), files=files, limits=Limits(disk_bytes=64 << 20)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.LIMIT_EXCEEDED


async def test_a_spent_budget_is_a_reason_of_its_own(tmp_path: Path) -> None:
    dear = turn(bash("true"))
    dear = dear.model_copy(update={"usage": Tokens(input_tokens=2_000_000, output_tokens=10)})
    scenario = Scenario(name="dear", match=("Adding is wrong",), turns=(dear, Turn(text="never")))
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", budget={"usd": 0.5})
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.BUDGET_EXCEEDED


async def test_what_is_refused_and_allowed_outside_is_shown_with_the_evidence(tmp_path: Path) -> None:
    """A host that the repository asks for and the worker offers is open; one that only the task asks for is not."""
    repository = {**FILES, ".agentvine.toml": '[sandbox]\nhosts = ["offered.example:443"]\n'}
    curl = (
        "curl -sS -m 5 https://offered.example/; curl -sS -m 5 https://wished.example/; curl -sS -m 5 http://10.0.0.1/"
    )
    done = turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), bash(curl), commit("fix: add"))
    scenario = Scenario(name="curls", match=("Adding is wrong",), turns=(done, Turn(text="done")))
    async with house(tmp_path, scenario, files=repository, offer=Offer(on_demand=("offered.example:443",))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", hosts=["wished.example:443"])
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        said = {contact.target: contact.reason for contact in evidence.egress if contact.way == "proxy"}
        assert set(said) == {"offered.example:443", "wished.example:443", "http://10.0.0.1/"}
        assert "list" in said["wished.example:443"]
        assert "list" not in said["offered.example:443"]  # it was let through, and there is no such host
        log = await h.plane.artifact(claimed.lease.execution_id, "egress.jsonl")
        assert len(log.splitlines()) == sum(contact.count for contact in evidence.egress if contact.way != "wish")
        (wish,) = (contact for contact in evidence.egress if contact.way == "wish")
        assert (wish.target, wish.allowed) == ("wished.example:443", False)


async def test_the_server_knows_what_was_spent_before_the_run_is_over(tmp_path: Path) -> None:
    """Else a worker that is lost in the middle would take the bill with it."""
    busy = turn(bash("tail -f /dev/null"))
    async with house(tmp_path, Scenario(name="busy", match=("Adding is wrong",), turns=(busy,))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        eager = TaskExecutor(replace(h.shop, tell_seconds=0.05))
        running = asyncio.create_task(eager.execute(claimed, Progress(claimed, h.plane)))

        async def told() -> bool:
            execution = await h.desk.execution(claimed.lease.execution_id)
            assert execution.phase in {Phase.CLAIMED, Phase.PREPARING, Phase.WORKING}, "the next phase tells it anyway"
            return execution.usage.cost_usd > 0

        await eventually(told, within=240)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
