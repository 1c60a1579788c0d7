"""Whether linters and type checkers find no more than on the base: counted by rule and file, with the base's settings.

For a refactoring that decides; for the others it is stated. A comment that silences a tool counts as what it silences.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.found import ToolCommand, Writes
from agentvine.worker.verification.inquiry import Answer, Facts, Inquiry
from agentvine.worker.verification.tool_reports import Found, UnreadableFindings, count, more
from agentvine.worker.verification.tool_runs import ToolRun, run_tools, with_settings_of_base

NAME = "linters and type checkers find nothing new"
_COMPILERS = frozenset({"go vet", "go build", "clippy", "cargo check", "javac"})
"""Nobody has asked for these: they are there with the language, and most of what they say the tests say, too."""
_SILENCED = re.compile(
    r"#\s*(noqa|nosec|type:\s*ignore|pyright:\s*ignore|pylint:\s*disable)|(eslint-disable|@ts-(?:ignore|expect-error|nocheck))"
    r"|//\s*(nolint)|#!?\[\s*(allow)\(|(@SuppressWarnings)"
)
_LARGEST = 1024 * 1024
_MOST_FILES = 500
_SHOWN = 10


async def _ask(facts: Facts) -> Answer:
    tools = _tools(facts)
    decides = facts.subject.type is TaskType.REFACTOR
    if not tools:
        why = "no linter and no type checker is configured on the base"
        return Answer((Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=why),) if decides else ())
    ground, subject = facts.ground, facts.subject
    judged = await with_settings_of_base(ground, facts.changed)
    after = await run_tools(ground, tools, judged, "result")
    before = await run_tools(ground, tools, subject.base, "base")
    if isinstance(after, str) or isinstance(before, str):
        return Answer(remarks=tuple(f"what {tool.tool} would say: it cannot be set up" for tool in tools))
    remarks, told, new = [], [], []
    for old, run in zip(before, after, strict=True):
        compared = _compared(old, run)
        if isinstance(compared, str):
            remarks.append(f"what {run.tool.tool} would say ({run.tool.source}): {compared}")
        else:
            told.append(run.tool.tool)
            new += list(_in_words(run.tool.tool, compared))
    if told:
        new += await _silenced(subject.commits, subject.base, subject.head, facts.changed)
    return Answer((_check(told, new, decides=decides),), tuple(remarks))


def _tools(facts: Facts) -> tuple[ToolCommand, ...]:
    commands = facts.ground.commands
    found = (*commands.lint, *commands.types)
    if facts.subject.type is TaskType.REFACTOR:
        return found
    return tuple(tool for tool in found if tool.tool not in _COMPILERS)


def _check(told: Sequence[str], new: Sequence[str], *, decides: bool) -> Check:
    if not told:
        why = "none of those that are configured could be run, see what was not checked"
        return Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=why)
    if not new:
        return Check(name=NAME, outcome=CheckOutcome.PASSED, why=", ".join(told))
    words = "; ".join(new[:_SHOWN]) + (f"; and {len(new) - _SHOWN} more" if len(new) > _SHOWN else "")
    if decides:
        return Check(name=NAME, outcome=CheckOutcome.FAILED, why=f"more than on the base: {words}"[:10_000])
    return Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=f"it decides nothing here, but: {words}"[:10_000])


def _compared(before: ToolRun, after: ToolRun) -> Found | str:
    """What there is more of, or why that is not known."""
    if before.absent or after.absent:
        return before.absent or after.absent
    old, new = _found(before), _found(after)
    if isinstance(old, str) or isinstance(new, str):
        return old if isinstance(old, str) else str(new)
    return more(old, new)


def _found(run: ToolRun) -> Found | str:
    """What a tool found. Where it has failed and names nothing, that it has failed is all that is known."""
    tool, printed = run.tool, f"{run.done.stdout}\n{run.done.stderr}"
    from_file = run.reports[0] if run.reports else None
    if tool.writes in {Writes.MYPY_JSON, Writes.PYRIGHT_JSON, Writes.CARGO_JSON}:
        printed = run.done.stdout
    elif tool.writes is not Writes.TEXT and from_file is None:
        return run.last_line
    try:
        found = count(tool.writes, from_file, printed, run.roots, tool.directory)
    except UnreadableFindings as error:
        return str(error)
    if run.done.exit_code != 0 and not found:
        if tool.writes is not Writes.TEXT:
            return run.last_line
        return Counter({(f"it fails ({run.last_line})"[:200], "."): 1})
    return found


def _in_words(tool: str, new: Found) -> Iterator[str]:
    for (rule, file), times in sorted(new.items()):
        place = f" in {file}" if file != "." else ""
        yield f"{tool}: {rule}{place}" + (f", {times} times" if times > 1 else "")


async def _silenced(commits: BareRepository, base: str, head: str, changed: Sequence[str]) -> list[str]:
    """Comments by which tools are silenced, of which there are more than before. Raises GitFailed."""
    sums: Counter[str] = Counter()
    for path in [path for path in changed if kind_of(path) is not FileKind.DOCS][:_MOST_FILES]:
        for commit, sign in ((base, -1), (head, 1)):
            content = await commits.read_file(commit, path, _LARGEST) or b""
            for one in _SILENCED.finditer(content.decode("utf-8", "replace")):
                sums[next(filter(None, one.groups()))] += sign
    return [f"{times} more `{word}` to silence a tool" for word, times in sorted(sums.items()) if times > 0]


LINT = Inquiry(
    "lint", frozenset({TaskType.REFACTOR, TaskType.FEATURE, TaskType.BUGFIX, TaskType.TEST}), _ask, costly=True
)
