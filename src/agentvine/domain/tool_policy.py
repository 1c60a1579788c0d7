"""What each tool of a worker lets its agent do: which files it may write, which programs are the tool's.

One table for the gate in front of every tool call and for the judgement of the result. A worker has the tools of its
type, or those that its configuration names instead.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from agentvine.domain.worker_types import PROFILES, TaskType


class FileKind(StrEnum):
    """What a file is for."""

    TEST = "test"
    DOCS = "docs"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    means: str
    """The end of the sentence "with it the agent may …"."""
    writes: frozenset[FileKind] = frozenset()
    programs: frozenset[str] = frozenset()
    """What is run for it. Refused to an agent whose type has the tool when its worker was not given it."""
    exclusive: bool = False
    """True: refused to every agent that does not have the tool, whatever its type."""


_ANALYSERS = frozenset({"mypy", "pyright", "pylint", "tsc", "golangci-lint", "staticcheck"})
_SCANNERS = frozenset({"bandit", "semgrep", "pip-audit", "safety", "trivy", "gitleaks", "gosec", "brakeman"})
_LINTERS = frozenset(
    {"ruff", "black", "isort", "flake8", "eslint", "prettier", "stylelint", "rubocop", "gofmt", "rustfmt", "shellcheck"}
)
_TEST_RUNNERS = frozenset(
    {
        "pytest",
        "unittest",
        "tox",
        "nox",
        "jest",
        "vitest",
        "mocha",
        "cypress",
        "playwright",
        "rspec",
        "phpunit",
        "ctest",
    }
)
_DRAWERS = frozenset({"mmdc", "dot", "plantuml", "d2"})
_MIGRATORS = frozenset({"alembic", "flyway", "liquibase", "dbmate", "knex", "goose", "sqitch", "atlas"})

TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Tool("code_write", "write code and its documentation", frozenset({FileKind.CODE, FileKind.DOCS})),
            Tool("test_write", "write tests", frozenset({FileKind.TEST})),
            Tool("docs_write", "write documentation", frozenset({FileKind.DOCS})),
            Tool("diagram_generation", "draw diagrams", frozenset({FileKind.DOCS}), _DRAWERS),
            Tool("test_execute", "run tests", programs=_TEST_RUNNERS),
            Tool("coverage_analysis", "measure coverage", programs=frozenset({"coverage", "nyc", "c8"})),
            Tool("log_analysis", "read the logs that come with a task"),
            Tool("db_migrate", "run database migrations", programs=_MIGRATORS, exclusive=True),
            Tool("linting", "run linters and formatters", programs=_LINTERS),
            Tool("lint_check", "run linters, changing nothing", programs=_LINTERS),
            Tool("static_analysis", "run type checkers and analysers", programs=_ANALYSERS),
            Tool("security_scan", "look for weaknesses", programs=_SCANNERS),
        )
    }
)
"""Every tool there is, by name."""

_WORDS = {FileKind.CODE: "code", FileKind.TEST: "tests", FileKind.DOCS: "documentation"}
CHECK = "only what its tools may write changed"
"""The name of the check in an evidence."""


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """What one worker's agents may do, by the tools that the worker has."""

    type: TaskType
    tools: frozenset[str]

    @property
    def writes(self) -> frozenset[FileKind]:
        """The kinds of files that may be written; none where the type changes no files at all."""
        if not PROFILES[self.type].changes_files:
            return frozenset()
        return frozenset().union(*(TOOLS[name].writes for name in self.tools))

    def objection_to_writing(self, kind: FileKind) -> str | None:
        """Why a file of this kind may not be written, told to the agent; None if it may."""
        writes = self.writes
        if kind in writes:
            return None
        if not writes:
            return "This task changes no file: report what you found instead."
        may = " and ".join(sorted(_WORDS[one] for one in writes))
        return f"This task changes {may} only. If {_WORDS[kind]} must change, say so in your last message."

    def objection_to_running(self, program: str) -> str | None:
        """Why the program may not be run, told to the agent; None if it may."""
        having = [tool for tool in TOOLS.values() if program in tool.programs]
        if not having or any(tool.name in self.tools for tool in having):
            return None
        own = PROFILES[self.type].tools
        withheld = [tool for tool in having if tool.exclusive or tool.name in own]
        if not withheld:
            return None
        return f"{program} needs the tool {withheld[0].name}, which this worker does not have: do without it."


def policy_of(kind: TaskType, tools: Collection[str] = ()) -> ToolPolicy:
    """The policy of a worker of this type; `tools`, if any, take the place of the type's. Raises ValueError."""
    unknown = sorted(set(tools) - TOOLS.keys())
    if unknown:
        raise ValueError(f"there is no tool {unknown[0]!r}; the tools are {', '.join(TOOLS)}")
    return ToolPolicy(kind, frozenset(tools or PROFILES[kind].tools))
