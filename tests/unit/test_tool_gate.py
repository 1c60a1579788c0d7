from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.tools import TypeGate


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
    return await gate(ToolCall("toolu_1", name, given))


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
