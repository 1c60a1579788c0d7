"""Whole executions: a real server, real git remotes, the real Claude Code against a scripted model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, ToolCall, Turn
from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.execution import Outcome
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.worker.agent.base import Watchdog
from agentvine.worker.conclusion import Delivered, Failed
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.settings import SandboxKind
from tests.integration.houses import (
    CODE,
    FILES,
    FIXED,
    KEY,
    REPRODUCING,
    bash,
    commit,
    fixes,
    house,
    turn,
    write,
)

# ── the six types ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bugfix_is_proven_and_pushed_and_the_host_is_left_clean(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        left = tmp_path / "worker" / "executions" / "exe_gone"
        (left / "workspace").mkdir(parents=True)
        left.with_name("exe_gone.lock").touch()
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
        assert not left.exists(), "the place of a dead worker"
        mirrors = h.shop.root / "mirrors"
        assert [path for path in h.shop.root.rglob("*.pack") if not path.is_relative_to(mirrors)] == []
        assert list(h.shop.root.rglob("refs/agentvine")) == []


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


async def test_documents_are_written_then_tests_and_the_second_order_does_not_test_the_base_again(
    tmp_path: Path,
) -> None:
    files = {**FILES, "tests/conftest.py": f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"}
    docs = Scenario(
        name="docs", match=("Say how",), turns=(turn(write("README.md", "# Calc\n\nIt adds.\n")), Turn(text="ok"))
    )
    more = FILES["tests/test_calc.py"] + "\n\ndef test_minus():\n    assert add(1, 1) == 0\n"
    tests = Scenario(
        name="test", match=("More tests",), turns=(turn(write("tests/test_calc.py", more)), Turn(text="ok"))
    )
    async with house(tmp_path, docs, tests, files=files, sandbox=SandboxKind.NONE) as h:  # in one nobody could count
        base = await h.repository.head()
        await h.submit(TaskType.DOCS, "Say how", permission_level="supervised")
        _, conclusion, _ = await h.carry_out(TaskType.DOCS)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.on_remote(conclusion.delivery.branch, "log", "-1", "--format=%s")).startswith("docs: ")
        assert (tmp_path / "runs").read_text() == "xx", "the base and the result"
        await h.submit(TaskType.TEST, "More tests")
        _, conclusion, _ = await h.carry_out(TaskType.TEST)
        assert isinstance(conclusion, Delivered), conclusion
        assert (conclusion.delivery.kind, conclusion.delivery.old_sha) == ("push", base)
        assert (tmp_path / "runs").read_text() == "xx" + "xxx", "the result alone; a new test has to pass each time"


@pytest.mark.every_case("tests/proof: refactorings that are refused and delivered")
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


@pytest.mark.every_case("e2e/test_demo: a review; test_reviews: found, placed and told once; proof: reviews refused")
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


@pytest.mark.every_case("e2e/test_demo: the bugfix is repaired once; test_rules: Claude is told and takes it back")
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


@pytest.mark.every_case("tests/proof/test_cheats.py; test_rules: what Claude does not take back is not delivered")
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
