from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue
from structlog.testing import capture_logs

from agentvine.domain.sensitive import Sensitive
from agentvine.domain.tool_policy import policy_of
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.clock import SystemClock
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.agent.tools import Judgement, TypeGate
from agentvine.worker.asking import Asking
from agentvine.worker.queue_client import QueueClient


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    (checkout / "src").mkdir(parents=True)
    (checkout / ".git").mkdir()
    (tmp_path / "outside").mkdir()
    (checkout / "link").symlink_to(tmp_path / "outside")
    (checkout / "file_link").symlink_to("/etc/passwd")
    (checkout / "inner").symlink_to("src")
    return checkout


async def ask(gate: TypeGate, name: str, **given: JsonValue) -> Verdict:
    """What a gate says that has nobody to ask: what needs approval waits."""
    judgement = gate.judge(ToolCall("toolu_1", name, given))
    if judgement.objection is not None:
        return Verdict(Decision.DENY, judgement.objection.reason)
    if judgement.rulings:
        return Verdict(Decision.PARK, "\n".join(ruling.reason for ruling in judgement.rulings))
    return Verdict(Decision.ALLOW)


def gate(checkout: Path, kind: TaskType = TaskType.FEATURE) -> TypeGate:
    return TypeGate(PROFILES[kind], checkout)


@pytest.mark.parametrize("path", ["src/a.py", "{checkout}/src/a.py", "inner/a.py", "new/deep/a.py", "src/../b.py"])
async def test_files_in_the_checkout_may_be_written(checkout: Path, path: str) -> None:
    verdict = await ask(gate(checkout), "Write", file_path=path.format(checkout=checkout), content="x")
    assert verdict.decision is Decision.ALLOW


@pytest.mark.parametrize(
    "path",
    [
        "../outside/a.py",
        "/etc/passwd",
        "link/a.py",
        "file_link",
        "src/../../outside/a",
        "{checkout}/../x",
        "{checkout}",
        ".",
        "",
        "a\0b",
        ".git/hooks/pre-commit",
        "src/.GIT/config",
        "inner/../.git/config",
        None,
        7,
    ],
)
@pytest.mark.parametrize("tool", ["Write", "Edit", "MultiEdit"])
async def test_nothing_outside_the_checkout_is_written(checkout: Path, path: JsonValue, tool: str) -> None:
    given = path.format(checkout=checkout) if isinstance(path, str) else path
    verdict = await ask(gate(checkout), tool, file_path=given)
    assert verdict.decision is Decision.DENY
    assert verdict.reason


async def test_a_notebook_is_a_file_too(checkout: Path) -> None:
    assert (await ask(gate(checkout), "NotebookEdit", notebook_path="/etc/x.ipynb")).decision is Decision.DENY
    assert (await ask(gate(checkout), "NotebookEdit", notebook_path="a.ipynb")).decision is Decision.ALLOW


async def test_paths_are_judged_as_the_agent_sees_them(checkout: Path) -> None:
    moved = TypeGate(PROFILES[TaskType.FEATURE], checkout, seen_at=Path("/workspace"))
    assert (await ask(moved, "Write", file_path="/workspace/src/a.py")).decision is Decision.ALLOW
    assert (await ask(moved, "Write", file_path="/workspace/link/a.py")).decision is Decision.DENY
    assert (await ask(moved, "Write", file_path="/workspace/../etc/x")).decision is Decision.DENY
    assert (await ask(moved, "Write", file_path=f"{checkout}/src/a.py")).decision is Decision.DENY


@pytest.mark.parametrize(
    ("kind", "path", "decision"),
    [
        (TaskType.DOCS, "README.md", Decision.ALLOW),
        (TaskType.DOCS, "docs/guide/index.rst", Decision.ALLOW),
        (TaskType.DOCS, "src/a.py", Decision.DENY),
        (TaskType.DOCS, "pyproject.toml", Decision.DENY),
        (TaskType.DOCS, "requirements.txt", Decision.DENY),
        (TaskType.TEST, "tests/test_a.py", Decision.ALLOW),
        (TaskType.TEST, "src/button.test.tsx", Decision.ALLOW),
        (TaskType.TEST, "pkg/a_test.go", Decision.ALLOW),
        (TaskType.TEST, "src/a.py", Decision.DENY),
        (TaskType.REVIEW, "README.md", Decision.DENY),
        (TaskType.BUGFIX, "src/a.py", Decision.ALLOW),
        (TaskType.REFACTOR, "src/a.py", Decision.ALLOW),
    ],
)
async def test_each_type_writes_its_own_kind_of_file(
    checkout: Path, kind: TaskType, path: str, decision: Decision
) -> None:
    assert (await ask(gate(checkout, kind), "Edit", file_path=path)).decision is decision


@pytest.mark.parametrize("name", ["WebFetch", "WebSearch", "AskUserQuestion", "Workflow", "mcp__x__y", "Skill", ""])
async def test_tools_that_make_no_sense_here_are_refused_with_a_reason(checkout: Path, name: str) -> None:
    verdict = await ask(gate(checkout), name)
    assert verdict.decision is Decision.DENY
    assert verdict.reason


async def test_the_shell_is_judged_by_type(checkout: Path) -> None:
    assert (await ask(gate(checkout), "Bash", command="git push")).decision is Decision.DENY
    assert (await ask(gate(checkout), "Bash", command="pytest -q")).decision is Decision.ALLOW
    assert (await ask(gate(checkout), "Bash", command=["ls"])).decision is Decision.DENY
    assert (await ask(gate(checkout, TaskType.REVIEW), "Bash", command="rm x")).decision is Decision.DENY


async def test_the_shell_writes_only_what_the_tools_may(checkout: Path) -> None:
    docs = gate(checkout, TaskType.DOCS)
    for command in (
        "echo x > src/a.py",
        "rm src/a.py",
        "sed -i s/a/b/ src/a.py",
        "cd src && cat > {checkout}/src/a.py",
    ):
        verdict = await ask(docs, "Bash", command=command.format(checkout=checkout))
        assert verdict.decision is Decision.DENY, command
        assert "documentation only" in verdict.reason
    for command in ("echo x > README.md", "echo x > /tmp/note.txt", "pytest -q 2>&1 | tee /tmp/log", "ls > /dev/null"):
        assert (await ask(docs, "Bash", command=command)).decision is Decision.ALLOW, command


async def test_a_worker_s_own_tools_narrow_what_it_may(checkout: Path) -> None:
    narrow = TypeGate(PROFILES[TaskType.FEATURE], checkout, policy=policy_of(TaskType.FEATURE, ["test_write"]))
    assert (await ask(narrow, "Write", file_path="src/a.py")).decision is Decision.DENY
    assert (await ask(narrow, "Write", file_path="tests/test_a.py")).decision is Decision.ALLOW
    blind = TypeGate(PROFILES[TaskType.REVIEW], checkout, policy=policy_of(TaskType.REVIEW, ["lint_check"]))
    assert (await ask(blind, "Bash", command="ruff check .")).decision is Decision.ALLOW
    assert (await ask(blind, "Bash", command="uv run bandit -r src")).decision is Decision.DENY


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Write", {"file_path": "pyproject.toml"}),
        ("Edit", {"file_path": "{checkout}/.github/workflows/ci.yml"}),
        ("Bash", {"command": "echo x >> requirements.txt"}),
        ("Bash", {"command": "cd src && pip install leftpad"}),
        ("Bash", {"command": "uv run alembic upgrade head"}),
        ("Bash", {"command": "cat .env"}),
        ("Bash", {"command": "cat ~/.ssh/id_rsa"}),
        ("Bash", {"command": "rm a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11"}),
        ("Read", {"file_path": "/workspace/.env"}),
        ("Grep", {"pattern": "KEY", "path": ".env"}),
    ],
)
async def test_what_is_sensitive_needs_approval_unless_it_was_allowed(
    checkout: Path, name: str, given: dict[str, str]
) -> None:
    full = {key: value.format(checkout=checkout) for key, value in given.items()}
    verdict = await ask(gate(checkout), name, **full)
    assert verdict.decision is Decision.PARK
    assert "needs approval" in verdict.reason
    assert "SENSITIVE_RULES" in verdict.reason
    free = {"allow": [{"rule": rule.name} for rule in Sensitive().rules]}
    loose = TypeGate(PROFILES[TaskType.FEATURE], checkout, sensitive=Sensitive.model_validate(free))
    assert (await ask(loose, name, **full)).decision is Decision.ALLOW


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Write", {"file_path": "\ud800", "content": "x"}),
        ("Read", {"file_path": ".env\ud800"}),
        ("Bash", {"command": "rm '\ud800' '\0' " + "x" * 10_000}),
        ("Write", {"file_path": "x" * 100_000}),
        ("Edit", {"file_path": ["a"]}),
        ("Bash", {"command": "echo x > $(pwd)/LICENSE; \\"}),
        ("\ud800", {}),
    ],
)
async def test_whatever_a_call_holds_it_is_judged(checkout: Path, name: str, given: dict[str, JsonValue]) -> None:
    assert isinstance(gate(checkout).judge(ToolCall("toolu_1", name, given)), Judgement)


async def test_what_a_call_is_about_is_known(checkout: Path) -> None:
    here = gate(checkout)
    both = here.judge(ToolCall("toolu_1", "Bash", {"command": "pip install x; echo x > LICENSE; rm -f go.mod"}))
    assert {ruling.rule for ruling in both.rulings} == {"package-installs", "licences", "dependencies"}
    assert set(both.paths) >= {"LICENSE", "go.mod"}
    assert both.deleted == ("go.mod",)
    hard = here.judge(ToolCall("toolu_1", "Bash", {"command": "echo x > LICENSE; git push"}))
    assert hard.objection is not None
    assert hard.rulings == ()


async def test_an_exception_for_another_repository_does_not_help(checkout: Path) -> None:
    allowed = {"allow": [{"rule": "dependencies", "repositories": ["https://example.org/a/*"]}]}
    for repository, decision in (("https://example.org/a/b", Decision.ALLOW), ("https://example.org/c", Decision.PARK)):
        here = TypeGate(
            PROFILES[TaskType.FEATURE], checkout, sensitive=Sensitive.model_validate(allowed), repository=repository
        )
        assert (await ask(here, "Write", file_path="pyproject.toml")).decision is decision


async def test_no_exception_makes_pushing_the_agent_s(checkout: Path) -> None:
    free = {"allow": [{"rule": rule.name} for rule in Sensitive().rules]}
    loose = TypeGate(PROFILES[TaskType.FEATURE], checkout, sensitive=Sensitive.model_validate(free))
    for command in ("git push", "git commit --amend", "twine upload dist/*"):
        assert (await ask(loose, "Bash", command=command)).decision is Decision.DENY


def asking(gate: TypeGate, refusals: Refusals) -> Asking:
    """One that never comes to ask anybody."""
    nobody = QueueClient(cast("ControlPlane", None), None, "wrk_a", SystemClock())
    return Asking(gate, nobody, cast("Claimed", None), hold=0, expiry=1, refusals=refusals)


async def call(gate: Asking, name: str, **given: JsonValue) -> None:
    assert (await gate(ToolCall("toolu_1", name, given))).decision in {Decision.ALLOW, Decision.DENY}


async def test_every_refusal_is_logged_and_kept_without_secrets(checkout: Path) -> None:
    refusals = Refusals()
    here = asking(gate(checkout, TaskType.DOCS), refusals)
    token = "ghp_" + "a1" * 15
    with capture_logs() as logged:
        await call(here, "Read", file_path="README.md")
        await call(here, "Write", file_path="src/a.py")
        await call(here, "Write", file_path="src/a.py")
        await call(here, "Bash", command=f"git push https://x:{token}@example.org/a\x1b[2J")
        await call(here, "WebFetch", url="https://example.org/")
    kept = [(call.tool, call.subject, call.rule, call.count) for call in refusals.calls]
    assert kept == [
        ("Write", "src/a.py", "tool-policy", 2),
        ("Bash", "git push https://x:[redacted]@example.org/a [2J", "shell", 1),
        ("WebFetch", "https://example.org/", "no-web", 1),
    ]
    assert [line["rule"] for line in logged] == ["tool-policy", "tool-policy", "shell", "no-web"]
    assert token not in repr(logged) + repr(kept)


async def test_a_command_that_names_files_without_end_is_not_looked_through(checkout: Path) -> None:
    verdict = await ask(gate(checkout), "Bash", command="touch " + " ".join(map(str, range(6000))))
    assert "too many files" in verdict.reason


async def test_a_flood_of_refusals_is_bounded(checkout: Path) -> None:
    refusals = Refusals()
    here = asking(gate(checkout, TaskType.REVIEW), refusals)
    for number in range(300):
        await call(here, "Write\n\0" * 50, file_path=f"{number}" + "x" * 10_000)
        await call(here, "Bash", command=f"rm {number}")
    assert len(refusals.calls) == 200
