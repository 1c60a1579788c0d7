"""What a result may change: the same rules as the gate before each tool call, on what came of all calls together."""

import asyncio
from collections.abc import Iterator

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.sensitive import Operation, Sensitive, Touched, judge_all, looks_secret
from agentvine.domain.tool_policy import CHECK, FileKind, ToolPolicy
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import BareRepository, Diff
from agentvine.worker.files import kind_of

SENSITIVE_CHECK = "nothing sensitive changed"
_SHOWN = 10
_LONGEST_DIFF = 64 * 1024 * 1024


async def operation_of(
    commits: BareRepository, base: str, head: str, diff: Diff, kind: TaskType, repository: str
) -> Operation:
    """What the commits from `base` to `head` do, for `judge`. `diff` is what lies between them. Raises GitFailed."""
    trees = [{file.path: (file.mode, file.sha) for file in await commits.list_tree(commit)} for commit in (base, head)]
    before, after = trees
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    moved = {file.old for file in diff.files if file.old is not None}
    text = (await commits.diff(base, head, _LONGEST_DIFF, context=0)).text if diff.truncated else diff.text
    return Operation(
        type=kind,
        repository=repository,
        files=tuple(Touched(path, kind_of(path)) for path in changed),
        deleted=len(before.keys() - after.keys() - moved),
        secrets=tuple(dict.fromkeys(await asyncio.to_thread(lambda: list(_secrets(text))))),
    )


def policy_checks(operation: Operation, tools: ToolPolicy, sensitive: Sensitive) -> tuple[Check, ...]:
    """Whether a result keeps to its worker's tools and touches nothing sensitive. Pure."""
    return (
        _check(CHECK, "\n".join(_beyond(operation, tools))),
        _check(SENSITIVE_CHECK, "\n".join(ruling.reason for ruling in judge_all(operation, sensitive))),
    )


def _beyond(operation: Operation, tools: ToolPolicy) -> Iterator[str]:
    """For each kind of file that is not this worker's to write: why, and which files."""
    for kind in FileKind:
        paths = [file.path for file in operation.files if file.kind is kind]
        reason = tools.objection_to_writing(kind)
        if paths and reason is not None:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            yield f"take the change of these back: {', '.join(paths[:_SHOWN])}{more}. {reason}"


def _secrets(diff: str) -> Iterator[str]:
    """The files to which a diff adds a line that holds what looks like a secret."""
    path = ""
    for line in diff.split("\n"):
        if line.startswith("+++ "):
            path = line[4:].strip('"').removeprefix("b/")
        elif line.startswith("+") and looks_secret(line):
            yield path


def _check(name: str, wrong: str) -> Check:
    if wrong:
        return Check(name=name, outcome=CheckOutcome.FAILED, why=wrong[:10_000])
    return Check(name=name, outcome=CheckOutcome.PASSED)
