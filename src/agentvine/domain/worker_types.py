"""The six worker types, as data.

What a type may do, how it commits and how many tasks it runs at once is read from here by worker, server and
documentation alike; an operator overrides it per repository, never the repository itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from agentvine.domain.permission import PermissionLevel


class TaskType(StrEnum):
    """What kind of work a task is; a worker has the same six types and claims only its own."""

    FEATURE = "feature"
    BUGFIX = "bugfix"
    TEST = "test"
    DOCS = "docs"
    REFACTOR = "refactor"
    REVIEW = "review"


WorkerType = TaskType


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """One type: its defaults and what "done" means for it."""

    type: TaskType
    permission_level: PermissionLevel
    """The level of a task that names none."""
    slots: int
    """How many executions one worker runs at once unless told otherwise."""
    tools: tuple[str, ...]
    """What its work needs; each maps to Claude Code tools and to analysers that the worker runs."""
    specializations: tuple[str, ...]
    """What workers of this type are commonly specialised in; a suggestion for `--specialization`."""
    commit_prefix: str
    """The Conventional Commits type of its commits (https://www.conventionalcommits.org/en/v1.0.0/)."""
    changes_files: bool
    """False where the result is a report and a changed file is a failure."""
    done_means: str
    """One sentence, shown to Claude and to people."""


_AUTONOMOUS, _SUPERVISED = PermissionLevel.AUTONOMOUS, PermissionLevel.SUPERVISED

PROFILES: Mapping[TaskType, WorkerProfile] = MappingProxyType(
    {
        profile.type: profile
        for profile in (
            WorkerProfile(
                type=TaskType.FEATURE,
                permission_level=_SUPERVISED,
                slots=1,
                tools=("code_write", "test_write", "db_migrate"),
                specializations=("python", "typescript", "react", "fastapi"),
                commit_prefix="feat",
                changes_files=True,
                done_means=(
                    "Tests that were green stay green; "
                    "new tests come with the change, run, pass, and would not pass without it."
                ),
            ),
            WorkerProfile(
                type=TaskType.BUGFIX,
                permission_level=_AUTONOMOUS,
                slots=1,
                tools=("code_write", "test_write", "log_analysis"),
                specializations=("python", "typescript", "debugging"),
                commit_prefix="fix",
                changes_files=True,
                done_means=(
                    "A test that reproduces the bug fails on the base and passes on the result; nothing else breaks."
                ),
            ),
            WorkerProfile(
                type=TaskType.TEST,
                permission_level=_AUTONOMOUS,
                slots=2,
                tools=("test_write", "test_execute", "coverage_analysis"),
                specializations=("pytest", "jest", "cypress"),
                commit_prefix="test",
                changes_files=True,
                done_means=(
                    "Only tests change; all pass, repeatedly; coverage is not lower; no test is weakened or skipped."
                ),
            ),
            WorkerProfile(
                type=TaskType.DOCS,
                permission_level=_AUTONOMOUS,
                slots=2,
                tools=("docs_write", "diagram_generation"),
                specializations=("markdown", "openapi", "mermaid"),
                commit_prefix="docs",
                changes_files=True,
                done_means=("No code changes; links resolve; fenced code parses; diagrams render."),
            ),
            WorkerProfile(
                type=TaskType.REFACTOR,
                permission_level=_SUPERVISED,
                slots=1,
                tools=("code_write", "test_execute", "linting"),
                specializations=("python", "typescript"),
                commit_prefix="refactor",
                changes_files=True,
                done_means=(
                    "The repository's own tests, unmodified, pass before and after; "
                    "the public API is unchanged unless asked."
                ),
            ),
            WorkerProfile(
                type=TaskType.REVIEW,
                permission_level=_AUTONOMOUS,
                slots=3,
                tools=("static_analysis", "security_scan", "lint_check"),
                specializations=("security", "performance", "python", "typescript"),
                commit_prefix="chore",
                changes_files=False,
                done_means=(
                    "No file changes; "
                    "findings are structured (file, line, severity, why, fix) and name places that exist."
                ),
            ),
        )
    }
)
