"""What a result may change: the same rules as the gate before each tool call, on what came of all calls together."""

import asyncio
import re
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
_LINK = "120000"
_GONE = ("", "")
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


async def operation_of(
    commits: BareRepository,
    base: str,
    head: str,
    diff: Diff,
    kind: TaskType,
    repository: str,
    longest: int = _LONGEST_DIFF,
) -> Operation:
    """What the commits from `base` to `head` do, for `judge`. `diff` is what lies between them.

    `longest`: how many bytes of a diff are looked through. Raises GitFailed.
    """
    trees = [{file.path: (file.mode, file.sha) for file in await commits.list_tree(commit)} for commit in (base, head)]
    before, after = trees
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    moved = {file.old for file in diff.files if file.old is not None}
    whole = await commits.diff(base, head, longest, context=0) if diff.truncated else diff
    return Operation(
        type=kind,
        repository=repository,
        files=tuple(Touched(path, kind_of(path), link=after.get(path, _GONE)[0] == _LINK) for path in changed),
        deleted=len(before.keys() - after.keys() - moved),
        secrets=tuple(dict.fromkeys(await asyncio.to_thread(lambda: list(_secrets(whole.text))))),
        unread=whole.truncated,
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
    """The files to which a diff adds a line that holds what looks like a secret.

    Only the counts of a hunk tell its lines from the headers that follow: an added line may begin with `++`, too.
    """
    path, removed, added = "", 0, 0
    for line in diff.split("\n"):
        if line.startswith("\\"):  # no newline at the end of the file
            continue
        if removed or added:
            removed -= line[:1] != "+"
            added -= line[:1] != "-"
            if line.startswith("+") and looks_secret(line[1:]):
                yield path
        elif hunk := _HUNK.match(line):
            removed, added = (1 if count is None else int(count) for count in hunk.groups())
        elif line.startswith("+++ "):
            path = line[4:].rstrip("\t").strip('"').removeprefix("b/")


def _check(name: str, wrong: str) -> Check:
    if wrong:
        return Check(name=name, outcome=CheckOutcome.FAILED, why=wrong[:10_000])
    return Check(name=name, outcome=CheckOutcome.PASSED)
