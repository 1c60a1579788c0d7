"""Finding out whether a result is done: in clean checkouts of base and result, with the base's own commands.

The agent never sees these checkouts, and its word counts for nothing here.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from agentvine.domain.approval import Grant, noted
from agentvine.domain.evidence import Check, CheckOutcome, CommandRecord, Evidence, Finding, RefusedCall
from agentvine.domain.execution import Usage
from agentvine.domain.retry import FailureReason
from agentvine.domain.sensitive import Sensitive
from agentvine.domain.statement import TreeEntry, change_digest
from agentvine.domain.tool_policy import ToolPolicy, policy_of
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import Clock
from agentvine.worker.access import Access
from agentvine.worker.bare_repository import BareRepository, Diff
from agentvine.worker.box import Boxes
from agentvine.worker.checkout import checkout_clean
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.git_errors import RepositoryProblem
from agentvine.worker.verification.agentvine_toml import NAME, parse
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.checks import Findings, checks, review_checks
from agentvine.worker.verification.commands import Commands, SetupCommand, detect, wanted
from agentvine.worker.verification.overlay import with_files_of
from agentvine.worker.verification.policy import Change, change_of, policy_checks
from agentvine.worker.verification.reading import read_change
from agentvine.worker.verification.review import misplaced, read_review
from agentvine.worker.verification.runs import RunVerdict, TestRun, run_setup, run_tests
from agentvine.worker.workspace import BoxRunner

_LARGEST_MANIFEST = 1024 * 1024


class SetupFailed(RepositoryProblem):
    """The base itself cannot be set up or tested, so nothing can be found out about a result."""

    reason = FailureReason.SETUP_FAILED


@dataclass(frozen=True, slots=True)
class Subject:
    """A result that is to be verified. `commits` holds base and head; `folder` and `private` are for this alone."""

    execution_id: str
    task_id: str
    type: TaskType
    url: str
    commits: BareRepository
    base: str
    head: str
    folder: Path
    private: Path
    access: Access = field(default_factory=Access)
    usage: Usage = field(default_factory=Usage)
    repairs: int = 0
    answer: JsonValue = None
    """The agent's structured answer, of a review."""
    tools: ToolPolicy | None = None
    """What the worker may write. None: what its type may."""
    sensitive: Sensitive = field(default_factory=Sensitive)
    refused_calls: tuple[RefusedCall, ...] = ()
    grants: tuple[Grant, ...] = ()
    """What somebody has agreed to."""
    asked: str = ""
    """The words of the task."""


@dataclass(slots=True)
class _Notes:
    """What was seen so far."""

    commands: list[CommandRecord] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    change: str | None = None
    """The digest of what was changed."""

    def of(self, run: TestRun | None, what: str) -> TestRun | None:
        if run is not None:
            self.commands.append(run.record)
            if run.remark:
                self.remarks.append(f"{what}: {run.remark}")
        return run


async def commands_of(commits: BareRepository, commit: str, *, ask: bool = True) -> Commands:
    """How the repository is set up and tested at `commit`. `ask` False: pass over what it says itself.

    Raises InvalidInput if its `.agentvine.toml` cannot be used.
    """
    paths = [file.path for file in await commits.list_tree(commit)]
    contents: dict[str, bytes] = {}
    for path in wanted(paths):
        content = await commits.read_file(commit, path, _LARGEST_MANIFEST)
        if content is not None:
            contents[path] = content
    said = await asyncio.to_thread(parse, contents[NAME]) if ask and NAME in contents else None
    return await asyncio.to_thread(detect, paths, contents, said)


async def changed_paths(commits: BareRepository, base: str, head: str) -> tuple[str, ...]:
    """The paths at which two commits differ: a file that moved counts with both of its names."""
    before, after = await _trees(commits, base, head)
    return tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))


async def _trees(commits: BareRepository, *wanted: str) -> list[dict[str, TreeEntry]]:
    return [{file.path: (file.mode, file.sha) for file in await commits.list_tree(commit)} for commit in wanted]


async def _change_digest(subject: Subject) -> str:
    before, after = await _trees(subject.commits, subject.base, subject.head)
    return change_digest(before, after)


class Verifier:
    """Verifies results on this host. `surroundings` names the tool chain; no test run takes longer than `longest`."""

    def __init__(
        self, boxes: Boxes, base_results: BaseResults, clock: Clock, *, surroundings: str = "", longest: float = 900.0
    ) -> None:
        self._boxes = boxes
        self._base_results = base_results
        self._clock = clock
        self._surroundings = surroundings
        self._longest = longest
        self._one_at_a_time = asyncio.Lock()

    async def verify(self, subject: Subject) -> Evidence:
        """The evidence for `subject`, whether it speaks for it or against it.

        Raises SetupFailed, GitFailed, LimitExceeded, and InvalidInput for a `.agentvine.toml` that cannot be used.
        """
        diff = await subject.commits.diff(subject.base, subject.head)
        if subject.type is TaskType.REVIEW:
            return await self._review(subject, diff)
        changed = await changed_paths(subject.commits, subject.base, subject.head)
        notes = _Notes(change=await _change_digest(subject))
        if not changed:
            return self._evidence(subject, diff, checks(Findings(subject.type, ())), notes)
        commands = await self._commands(subject, notes)
        notes.remarks += commands.remarks
        before = after = crossed = None
        if commands.test is not None:
            before = notes.of(await self._before(subject, commands), "base")
            after = notes.of(await self._run(subject, commands, subject.head, "result"), "result")
            crossed = notes.of(await self._crossed(subject, commands, changed), "crossed")
        judged = before is not None and before.verdict is not RunVerdict.NO_TESTS
        read = await read_change(
            subject.commits,
            subject.base,
            subject.head,
            changed,
            subject.type,
            judged_by_base=judged,
            asked=subject.asked,
        )
        notes.remarks += read.unread
        found = Findings(subject.type, changed, before, after, crossed, read)
        notes.remarks += _not_checked(subject.type)
        done = (*checks(found), *await kept_to_rules(subject, diff))
        return self._evidence(subject, diff, done, notes, before, after)

    async def _commands(self, subject: Subject, notes: _Notes) -> Commands:
        """The base's commands; where the base has no tests yet, those that the result's files suggest."""
        commands = await commands_of(subject.commits, subject.base)
        if commands.test is not None:
            return commands
        suggested = await commands_of(subject.commits, subject.head, ask=False)
        if suggested.test is not None:
            notes.remarks.append("the base has no tests: they are run as the result's files suggest")
        return replace(commands, test=suggested.test)

    async def know_base(self, subject: Subject) -> None:
        """Run the base's tests ahead of need, so that `verify` finds the result. Raises what `verify` raises."""
        commands = await commands_of(subject.commits, subject.base)
        if commands.test is not None:
            await self._before(subject, commands)

    async def _before(self, subject: Subject, commands: Commands) -> TestRun:
        """The tests on the base. Raises SetupFailed if they cannot be run; documentation can do without."""
        async with self._one_at_a_time:
            known = self._base_results.find(subject.url, subject.base, commands, self._surroundings)
            if known is not None:
                return known
            run = await self._run(subject, commands, subject.base, "base")
            self._base_results.keep(subject.url, subject.base, commands, self._surroundings, run)
        if run.verdict in {RunVerdict.BROKEN, RunVerdict.UNKNOWN} and subject.type is not TaskType.DOCS:
            raise SetupFailed(f"the tests of the base cannot be run: {run.why}")
        return run

    async def _crossed(self, subject: Subject, commands: Commands, changed: Collection[str]) -> TestRun | None:
        """The one's tests on the other's code; None where there is no need."""
        tests = [path for path in changed if kind_of(path) is FileKind.TEST]
        if not tests or subject.type not in {TaskType.FEATURE, TaskType.BUGFIX, TaskType.REFACTOR}:
            return None
        onto, source, where = subject.base, subject.head, "base"
        if subject.type is TaskType.REFACTOR:
            onto, source, where = subject.head, subject.base, "result"
        mixed = await with_files_of(subject.commits, onto, source, tests)
        return await self._run(subject, commands, mixed, where)

    async def _run(self, subject: Subject, commands: Commands, commit: str, where: str) -> TestRun:
        """Set up and run the tests in a clean checkout of `commit`."""
        assert commands.test is not None  # noqa: S101 - asked only where there are tests
        place = subject.folder / f"{where}-{commit[:12]}"
        checkout = await checkout_clean(subject.commits, commit, place)
        try:
            wished = commands.hosts
            async with self._boxes.box(checkout, subject.private, subject.access, wished=wished) as box:
                if commands.setup is not None and (broken := await _set_up(commands.setup, place, where, box)):
                    return broken
                return await run_tests(commands.test, place, where, box, self._longest)
        finally:
            with suppress(OSError):  # the execution's whole folder goes in the end
                await checkout.remove()

    async def _review(self, subject: Subject, diff: Diff) -> Evidence:
        review = read_review(subject.answer)
        findings: tuple[Finding, ...] = ()
        if isinstance(review, str):
            problems = [review]
        else:
            problems, findings = await misplaced(review, subject.commits, subject.base), review.findings
        done = review_checks([file.path for file in diff.files], problems)
        notes = _Notes(remarks=_not_checked(subject.type), change=await _change_digest(subject))
        return self._evidence(subject, diff, done, notes, findings=findings)

    def _evidence(
        self,
        subject: Subject,
        diff: Diff,
        done: tuple[Check, ...],
        notes: _Notes,
        before: TestRun | None = None,
        after: TestRun | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> Evidence:
        return Evidence(
            execution_id=subject.execution_id,
            task_id=subject.task_id,
            type=subject.type,
            made_at=self._clock.now(),
            base_sha=subject.base,
            head_sha=subject.head,
            checks=done,
            commands=tuple(notes.commands),
            tests_before=before.counts if before else None,
            tests_after=after.counts if after else None,
            files_changed=len(diff.files),
            lines_added=diff.lines_added,
            lines_removed=diff.lines_removed,
            change_sha256=notes.change,
            findings=findings,
            usage=subject.usage,
            repairs=subject.repairs,
            sandbox=self._boxes.confinement,
            egress=subject.access.journal.contacts,
            refused_calls=subject.refused_calls,
            approved_calls=noted(subject.grants),
            not_checked=tuple(notes.remarks),
        )


async def _set_up(setup: SetupCommand, place: Path, where: str, box: BoxRunner) -> TestRun | None:
    """Run the set-up command; None if all is well."""
    record = await run_setup(setup, place, where, box)
    if record.exit_code == 0:
        return None
    why = f"the set-up `{' '.join(setup.argv)}` ended with {record.exit_code}: {record.output_tail[-2000:]}"
    return TestRun(verdict=RunVerdict.BROKEN, why=why, record=record)


async def kept_to_rules(subject: Subject, diff: Diff) -> tuple[Check, ...]:
    """Whether the result is one that this worker's agent was allowed to make. Raises GitFailed."""
    change = await change_in(subject, diff)
    tools = subject.tools or policy_of(subject.type)
    # a result may have many files
    return await asyncio.to_thread(policy_checks, change, tools, subject.sensitive, subject.grants)


async def change_in(subject: Subject, diff: Diff) -> Change:
    """What the result does, for the rules. Raises GitFailed."""
    return await change_of(subject.commits, subject.base, subject.head, diff, subject.type, subject.url)


def _not_checked(kind: TaskType) -> list[str]:
    return list(_LEFT_OPEN.get(kind, ()))


_LEFT_OPEN = {
    TaskType.TEST: ("that coverage is not lower",),
    TaskType.DOCS: ("links to other hosts", "that diagrams render"),
    TaskType.REFACTOR: ("the public API of other languages than Python", "that analysers find nothing new"),
    TaskType.REVIEW: ("that the findings are right",),
}


def failing(evidence: Evidence) -> list[Check]:
    """The checks for which a result is not delivered."""
    return [check for check in evidence.checks if check.outcome in {CheckOutcome.FAILED, CheckOutcome.UNKNOWN}]
