"""What a result may change: the same rules as the gate before each tool call, on what came of all calls together."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agentvine.domain.approval import Grant, covered, leaf
from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.sensitive import (
    CREDENTIALS,
    DELETING,
    Operation,
    Ruling,
    Sensitive,
    Touched,
    judge_all,
    looks_secret,
    touched,
)
from agentvine.domain.tool_policy import CHECK, FileKind, ToolPolicy
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import BareRepository, Diff
from agentvine.worker.files import kind_of

SENSITIVE_CHECK = "nothing sensitive changed"
PROTECTED_CHECK = "nothing protected changed"
_SHOWN = 10
_LONGEST_DIFF = 64 * 1024 * 1024
_LINK = "120000"
_GONE = ("", "")
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class Change:
    """What a result does."""

    operation: Operation
    left: Mapping[str, str | None]
    """Each changed file as the result leaves it: its `leaf`, None if it is deleted."""
    deleted: tuple[str, ...] = ()
    """Files that are gone and were not moved."""


async def change_of(
    commits: BareRepository,
    base: str,
    head: str,
    diff: Diff,
    kind: TaskType,
    repository: str,
    longest: int = _LONGEST_DIFF,
) -> Change:
    """What the commits from `base` to `head` do. `diff` is what lies between them.

    `longest`: how many bytes of a diff are looked through. Raises GitFailed.
    """
    trees = [{file.path: (file.mode, file.sha) for file in await commits.list_tree(commit)} for commit in (base, head)]
    before, after = trees
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    moved = {file.old for file in diff.files if file.old is not None}
    deleted = tuple(sorted(before.keys() - after.keys() - moved))
    whole = await commits.diff(base, head, longest, context=0) if diff.truncated else diff
    operation = Operation(
        type=kind,
        repository=repository,
        files=tuple(Touched(path, kind_of(path), link=after.get(path, _GONE)[0] == _LINK) for path in changed),
        deleted=len(deleted),
        secrets=tuple(dict.fromkeys(await asyncio.to_thread(lambda: list(_secrets(whole.text))))),
        unread=whole.truncated,
    )
    return Change(operation, {path: leaf(*after[path]) if path in after else None for path in changed}, deleted)


def policy_checks(
    change: Change, tools: ToolPolicy, sensitive: Sensitive, grants: Sequence[Grant] = ()
) -> tuple[Check, ...]:
    """Whether a result keeps to its worker's tools, and does nothing sensitive that nobody has agreed to. Pure."""
    return (
        _check(CHECK, "\n".join(_beyond(change.operation, tools))),
        _sensitive_check(change, sensitive, grants),
    )


def protected_check(change: Change, protected: Sequence[str]) -> tuple[Check, ...]:
    """Whether a result leaves alone what an operator protects, if anything; nobody's approval changes that. Pure."""
    if not protected:
        return ()
    paths = touched(change.operation, tuple(pattern for each in protected for pattern in _with_all_below(each)))
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    why = (
        f"take the change of these back: {', '.join(paths[:_SHOWN])}{more}. An operator protects them" if paths else ""
    )
    return (_check(PROTECTED_CHECK, why),)


def _with_all_below(pattern: str) -> tuple[str, str]:
    """A pattern that names a directory means what is in it, too."""
    bare = pattern.strip("/") or "*"
    return bare, f"{bare if '/' in bare else f'**/{bare}'}/**"


def _sensitive_check(change: Change, sensitive: Sensitive, grants: Sequence[Grant]) -> Check:
    rulings = still_sensitive(change, sensitive, grants)
    if rulings:
        return _check(SENSITIVE_CHECK, "\n".join(ruling.reason for ruling in rulings))
    used = [grant for grant in grants if any(change.left.get(path, "") == left for path, left in grant.leaves.items())]
    if not used or not any(judge_all(change.operation, sensitive)):
        return _check(SENSITIVE_CHECK, "")
    names = ", ".join(dict.fromkeys(grant.made_by for grant in used))
    return Check(name=SENSITIVE_CHECK, outcome=CheckOutcome.PASSED, why=f"approved by {names}"[:10_000])


def still_sensitive(change: Change, sensitive: Sensitive, grants: Sequence[Grant]) -> tuple[Ruling, ...]:
    """The rules by which the result needs approval that nobody has given. Pure."""
    return tuple(judge_all(_not_covered(change, grants), sensitive))


def files_of(rulings: Sequence[Ruling], change: Change, grants: Sequence[Grant]) -> dict[str, str | None]:
    """The changed files that `rulings` are about, as the result leaves them."""
    wanted = {path for ruling in rulings for path in ruling.files}
    names = {ruling.rule for ruling in rulings}
    if DELETING in names:
        wanted |= {path for path in change.deleted if not covered(path, None, grants)}
    if CREDENTIALS in names and change.operation.unread:
        wanted |= change.left.keys()
    return {path: left for path, left in change.left.items() if path in wanted}


def _not_covered(change: Change, grants: Sequence[Grant]) -> Operation:
    """What the result does beyond what somebody has agreed to."""
    if not grants:
        return change.operation

    def free(path: str, rule: str = "") -> bool:
        return path in change.left and covered(path, change.left[path], grants, rule)

    done = change.operation
    return replace(
        done,
        files=tuple(file for file in done.files if not free(file.path)),
        deleted=sum(not free(path) for path in change.deleted),
        # who agrees to a change for another reason may not have been shown what looks like a secret
        secrets=tuple(path for path in done.secrets if not free(path, CREDENTIALS)),
        unread=done.unread and not all(free(path, CREDENTIALS) for path in change.left),
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
