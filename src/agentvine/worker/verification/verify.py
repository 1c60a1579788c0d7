"""Finding out whether a result is done: in clean checkouts of base and result, with the base's own commands.

The agent never sees these checkouts, and its word counts for nothing here.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from agentvine.domain.approval import noted
from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.statement import TreeEntry, change_digest
from agentvine.domain.tool_policy import policy_of
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import Clock
from agentvine.worker.bare_repository import BareRepository, Diff
from agentvine.worker.box import Boxes
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.agentvine_toml import NAME, parse
from agentvine.worker.verification.analyses import Analyses
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.base_runs import BaseRuns
from agentvine.worker.verification.checks import Findings, checks
from agentvine.worker.verification.commands import Commands, detect, wanted
from agentvine.worker.verification.environments import Environments
from agentvine.worker.verification.ground import Ground, Notes
from agentvine.worker.verification.inquiries import INQUIRIES
from agentvine.worker.verification.inquiry import Facts, Inquiry
from agentvine.worker.verification.living_on import living_on
from agentvine.worker.verification.policy import Change, change_of, policy_checks, protected_check
from agentvine.worker.verification.reading import read_change
from agentvine.worker.verification.repeated import MOST_RUNS, doubtful, repeated, together
from agentvine.worker.verification.reviewing import analysed, reviewed
from agentvine.worker.verification.ruled import as_ruled, ruled
from agentvine.worker.verification.runs import RunVerdict, TestRun
from agentvine.worker.verification.steering import as_judged
from agentvine.worker.verification.subject import SetupFailed, Subject

__all__ = [
    "SetupFailed",
    "Subject",
    "Verifier",
    "change_in",
    "changed_paths",
    "commands_of",
    "failing",
    "kept_to_rules",
]

_LARGEST_MANIFEST = 1024 * 1024


async def commands_of(
    commits: BareRepository, commit: str, rules: RepositoryRules = RepositoryRules(), *, ask: bool = True
) -> Commands:
    """How the repository is set up and tested at `commit`. `ask` False: pass over what it says itself.

    What an operator's `rules` say goes before that.

    Raises InvalidInput if its `.agentvine.toml` cannot be used.
    """
    paths = [file.path for file in await commits.list_tree(commit)]
    contents: dict[str, bytes] = {}
    for path in wanted(paths):
        content = await commits.read_file(commit, path, _LARGEST_MANIFEST)
        if content is not None:
            contents[path] = content
    said = await asyncio.to_thread(parse, contents[NAME]) if ask and NAME in contents else None
    return as_ruled(await asyncio.to_thread(detect, paths, contents, ruled(said, rules)), rules)


async def changed_paths(commits: BareRepository, base: str, head: str) -> tuple[str, ...]:
    """The paths at which two commits differ: a file that moved counts with both of its names."""
    before, after = await _trees(commits, base, head)
    return tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))


async def _trees(commits: BareRepository, *wanted: str) -> list[dict[str, TreeEntry]]:
    return [{file.path: (file.mode, file.sha) for file in await commits.list_tree(commit)} for commit in wanted]


async def _change_digest(subject: Subject) -> str:
    before, after = await _trees(subject.commits, subject.base, subject.head)
    return change_digest(before, after)


@dataclass(slots=True)
class _Record:
    """What the evidence will say."""

    subject: Subject
    diff: Diff
    change: str
    """The digest of what was changed."""
    notes: Notes = field(default_factory=Notes)
    checks: list[Check] = field(default_factory=list)
    more: dict[str, object] = field(default_factory=dict)
    """Further fields."""


class Verifier:
    """Verifies results on this host. `surroundings` names the tool chain; no test run takes longer than `longest`."""

    def __init__(
        self,
        boxes: Boxes,
        base_results: BaseResults,
        clock: Clock,
        *,
        surroundings: str = "",
        longest: float = 900.0,
        inquiries: Sequence[Inquiry] = INQUIRIES,
        environments: Environments | None = None,
    ) -> None:
        self._boxes = boxes
        self._clock = clock
        self._base_runs = BaseRuns(base_results, surroundings)
        self._longest = longest
        self._inquiries = inquiries
        self._environments = environments
        self._surroundings = surroundings
        self._analyses = Analyses(boxes, longest)

    async def verify(self, subject: Subject) -> Evidence:
        """The evidence for `subject`, whether it speaks for it or against it.

        Raises SetupFailed, GitFailed, LimitExceeded, and InvalidInput for a `.agentvine.toml` that cannot be used.
        """
        diff = await subject.commits.diff(subject.base, subject.head)
        record = _Record(subject, diff, await _change_digest(subject))
        if subject.type is TaskType.REVIEW:
            await self._review(record)
            return self._evidence(record)
        changed = await changed_paths(subject.commits, subject.base, subject.head)
        if not changed:
            record.checks += checks(Findings(subject.type, ()))
            return self._evidence(record)
        facts = await self._facts(record, changed)
        record.checks += checks(await _findings(facts))
        record.checks += await _kept_to_rules_since(subject, diff)
        record.notes.remarks += _LEFT_OPEN.get(subject.type, ())
        await self._inquire(record, facts)
        return self._evidence(record)

    async def _facts(self, record: _Record, changed: tuple[str, ...]) -> Facts:
        """Run what has to be run of every result, and read it."""
        subject, notes = record.subject, record.notes
        commands = await commands_of(subject.commits, subject.base, subject.rules)
        head = subject.head
        if commands.test is None:
            commands = await _suggested(subject, commands, notes)
        else:
            head, pointed_out = await as_judged(subject, changed)
            record.checks += pointed_out
        notes.remarks += commands.remarks
        ground = self._ground(subject, commands, notes)
        before = after = crossed = None
        if commands.test is not None:
            before = notes.add(await self._base_runs.of(ground), "base")
            after = await ground.tests(head, "result", what="result")
            before, after = await self._settled(ground, head, before, after)
            crossed = await _crossed(ground, head, changed)
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
        record.more["tests_before"] = before.counts if before else None
        record.more["tests_after"] = after.counts if after else None
        return Facts(subject, ground, changed, record.diff, before, after, crossed, read)

    async def _inquire(self, record: _Record, facts: Facts) -> None:
        """Ask the further questions."""
        for inquiry in self._inquiries:
            if record.subject.type not in inquiry.types or (
                inquiry.costly and any(map(_speaks_against, record.checks))
            ):
                continue
            answer = await inquiry.ask(facts)
            record.checks += answer.checks
            record.notes.remarks += answer.remarks
            record.more.update(answer.evidence)

    def _ground(self, subject: Subject, commands: Commands, notes: Notes) -> Ground:
        return Ground(subject, commands, self._boxes, self._longest, notes, self._environments, self._surroundings)

    async def know_base(self, subject: Subject) -> None:
        """Run the base's tests ahead of need, so that `verify` finds the result. Raises what `verify` raises."""
        commands = await commands_of(subject.commits, subject.base, subject.rules)
        if commands.test is not None:
            await self._base_runs.of(self._ground(subject, commands, Notes()))

    async def _settled(self, ground: Ground, head: str, before: TestRun, after: TestRun) -> tuple[TestRun, TestRun]:
        """Both runs, with as many more as it takes to tell what is flaky. New tests have to pass each time."""
        if ground.subject.type is TaskType.TEST:
            after = await repeated(ground, after, head, "result", MOST_RUNS)
        if after.verdict is RunVerdict.FAILED and doubtful(before, after):
            if after.times == 1:
                after = together(after, await ground.tests(head, "result", what="result, again"))
            before = await self._base_runs.doubted(ground, before, after)
        return before, after

    async def know_change(self, subject: Subject) -> None:
        """Run the analysers of a review ahead of need, so that `verify` finds what they say. Raises what it raises."""
        await analysed(
            subject, await commands_of(subject.commits, subject.since or subject.base, subject.rules), self._analyses
        )

    async def _review(self, record: _Record) -> None:
        subject = record.subject
        commands = await commands_of(subject.commits, subject.since or subject.base, subject.rules)
        touched = [file.path for file in record.diff.files]
        review = await reviewed(subject, commands, self._analyses, touched)
        record.checks += review.checks
        record.notes.commands += review.commands
        record.notes.remarks += (*_LEFT_OPEN[TaskType.REVIEW], *review.remarks)
        record.more["findings"] = review.findings
        record.more["reviewed_since"] = subject.since

    def _evidence(self, record: _Record) -> Evidence:
        subject, diff = record.subject, record.diff
        evidence = Evidence(
            execution_id=subject.execution_id,
            task_id=subject.task_id,
            type=subject.type,
            made_at=self._clock.now(),
            base_sha=subject.base,
            head_sha=subject.head,
            checks=tuple(record.checks),
            commands=tuple(record.notes.commands),
            files_changed=len(diff.files),
            lines_added=diff.lines_added,
            lines_removed=diff.lines_removed,
            change_sha256=record.change,
            usage=subject.usage,
            repairs=subject.repairs,
            sandbox=self._boxes.confinement,
            egress=subject.access.journal.contacts,
            refused_calls=subject.refused_calls,
            approved_calls=noted(subject.grants),
            not_checked=tuple(record.notes.remarks),
        )
        return evidence.model_copy(update=record.more)


async def _findings(facts: Facts) -> Findings:
    subject, before, after = facts.subject, facts.before, facts.after
    living: frozenset[str] = frozenset()
    if before is not None and after is not None:
        runs = before, after
        living = await living_on(subject.commits, subject.base, subject.head, facts.changed, runs, subject.asked)
    return Findings(subject.type, facts.changed, before, after, facts.crossed, facts.read, living)


async def _suggested(subject: Subject, commands: Commands, notes: Notes) -> Commands:
    """Commands of a base that has no tests, with those that the result's files suggest."""
    suggested = await commands_of(subject.commits, subject.head, subject.rules, ask=False)
    if suggested.test is not None:
        notes.remarks.append("the base has no tests: they are run as the result's files suggest")
    return replace(commands, test=suggested.test)


async def _crossed(ground: Ground, head: str, changed: Collection[str]) -> TestRun | None:
    """The one's tests on the other's code; None where there is no need."""
    subject = ground.subject
    tests = [path for path in changed if kind_of(path) is FileKind.TEST]
    if not tests or subject.type not in {TaskType.FEATURE, TaskType.BUGFIX, TaskType.REFACTOR}:
        return None
    onto, source, where = subject.base, subject.head, "base"
    if subject.type is TaskType.REFACTOR:
        onto, source, where = head, subject.base, "result"
    return await ground.tests(await ground.mixed(onto, source, tests), where, what="crossed")


async def kept_to_rules(subject: Subject, diff: Diff) -> tuple[Check, ...]:
    """Whether the result is one that this worker's agent was allowed to make. Raises GitFailed."""
    change = await change_in(subject, diff)
    tools = subject.tools or policy_of(subject.type)
    # a result may have many files
    kept = await asyncio.to_thread(policy_checks, change, tools, subject.sensitive, subject.grants)
    return (*kept, *protected_check(change, subject.rules.protected))


async def _kept_to_rules_since(subject: Subject, diff: Diff) -> tuple[Check, ...]:
    """As `kept_to_rules`, of the agent's own commits alone."""
    if subject.builds_on is None or subject.builds_on == subject.base:
        return await kept_to_rules(subject, diff)
    own = replace(subject, base=subject.builds_on)
    return await kept_to_rules(own, await own.commits.diff(own.base, own.head))


async def change_in(subject: Subject, diff: Diff) -> Change:
    """What the result does, for the rules. Raises GitFailed."""
    return await change_of(subject.commits, subject.base, subject.head, diff, subject.type, subject.url)


_LEFT_OPEN = {
    TaskType.DOCS: ("links to other hosts", "that diagrams render"),
    TaskType.REFACTOR: ("the public API of other languages than Python",),
    TaskType.REVIEW: ("that the findings are right",),
}


def failing(evidence: Evidence) -> list[Check]:
    """The checks for which a result is not delivered."""
    return [check for check in evidence.checks if _speaks_against(check)]


def _speaks_against(check: Check) -> bool:
    return check.outcome in {CheckOutcome.FAILED, CheckOutcome.UNKNOWN}
