"""Whether a result means what it says: no answers written in, no runner changed, no word that the facts contradict.

Nothing is run for this. What is found goes to the agent word for word.
"""

import asyncio
from collections.abc import Collection

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.worker_types import TaskType
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification import claims
from agentvine.worker.verification.hard_coded import File, hard_coded
from agentvine.worker.verification.inquiry import Answer, Facts, Inquiry
from agentvine.worker.verification.results import CaseOutcome
from agentvine.worker.verification.stand_ins import stand_ins

ANSWERS = "no answers of tests are written into the code"
THEMSELVES = "nothing stands in for the runner or the code"
TRUE = "the final message is true"
_MOST_FILES = 300
_LARGEST = 512 * 1024
_SHOWN = 20
_DECLARING = frozenset({"pyproject.toml", "setup.cfg", "setup.py"})
"""Where a repository says that it is a plugin of pytest."""


async def ask_of_answers(facts: Facts) -> Answer:
    """Whether the code knows the tests that judge it. Raises GitFailed."""
    subject, changed = facts.subject, frozenset(facts.changed)
    code = [path for path in facts.changed if kind_of(path) is FileKind.CODE]
    there = [file.path for file in await subject.commits.list_tree(subject.head) if kind_of(file.path) is FileKind.TEST]
    tests = [*(path for path in there if path in changed), *(path for path in there if path not in changed)]
    if not code:
        why = "no code was changed"
        return Answer((Check(name=ANSWERS, outcome=CheckOutcome.NOT_APPLICABLE, why=why),))
    files = await _files(subject.commits, subject.base, subject.head, code, changed)
    judges = await _files(subject.commits, subject.base, subject.head, tests, changed)
    return Answer((_check(ANSWERS, await asyncio.to_thread(hard_coded, files, judges, subject.asked)),))


async def _files(
    commits: BareRepository, base: str, head: str, paths: Collection[str], changed: Collection[str]
) -> list[File]:
    """The files of the result. Of one that is not changed, all counts as new: its tests judge what is."""
    found = []
    for path in list(paths)[:_MOST_FILES]:
        after = await _text(commits, head, path)
        if after is not None:
            before = await _text(commits, base, path) if path in changed else None
            found.append(File(path, before, after))
    return found


async def _text(commits: BareRepository, commit: str, path: str) -> str | None:
    content = await commits.read_file(commit, path, _LARGEST + 1)
    return None if content is None or len(content) > _LARGEST else content.decode("utf-8", "replace")


async def ask_of_stand_ins(facts: Facts) -> Answer:
    """Whether what runs is the runner, and what is tested the code. Raises GitFailed."""
    subject, changed = facts.subject, frozenset(facts.changed)
    paths = [file.path for file in await subject.commits.list_tree(subject.head)]
    files = await _files(subject.commits, subject.base, subject.head, facts.changed, changed)
    python = [path for path in paths if path.endswith(".py") or path in _DECLARING]
    texts = {file.path: file.after for file in await _files(subject.commits, subject.base, subject.head, python, ())}
    return Answer((_check(THEMSELVES, await asyncio.to_thread(stand_ins, files, paths, texts)),))


async def ask_of_claims(facts: Facts) -> Answer:
    """Whether the final message says anything that is not so. Raises GitFailed."""
    subject = facts.subject
    if not subject.said.strip():
        return Answer()
    after = facts.after
    touched = [path for path in facts.changed if kind_of(path) is FileKind.TEST]
    known = claims.Facts(
        changed=facts.changed,
        files=[file.path for file in await subject.commits.list_tree(subject.head)],
        tests=list(after.cases) if after and after.cases is not None else None,
        failing=after.named(CaseOutcome.FAILED) if after else (),
        in_changed_files=sum(case.file in touched for case in after.tests) if after else 0,
        altered_tests=[file.path for file in facts.diff.files if file.removed and file.path in touched],
        texts=[text for path in touched[:_MOST_FILES] if (text := await _text(subject.commits, subject.head, path))],
    )
    wrong = [*await asyncio.to_thread(claims.contradictions, subject.said, known), *await _phantoms(facts)]
    return Answer((_check(TRUE, wrong),))


async def _phantoms(facts: Facts) -> list[str]:
    """The commits that the final message names and that are nowhere, neither as they were made nor as signed."""
    named, commits = claims.named_commits(facts.subject.said), facts.subject.commits
    if not named:
        return []
    said = (await commits.git.text(commands.objects(commits.path, named))).split("\n")
    missing = [name for name, line in zip(named, said, strict=False) if line.endswith(" missing")]
    return [f"you wrote “{named[name]}”, but there is no commit {name}" for name in missing]


def _check(name: str, wrong: Collection[str]) -> Check:
    if not wrong:
        return Check(name=name, outcome=CheckOutcome.PASSED)
    more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    why = "\n".join([*list(wrong)[:_SHOWN], *more])
    return Check(name=name, outcome=CheckOutcome.FAILED, why=why[:10_000])


_CODING = frozenset({TaskType.FEATURE, TaskType.BUGFIX, TaskType.REFACTOR, TaskType.TEST})
ANSWERS_INQUIRY = Inquiry("answers", _CODING, ask_of_answers)
STAND_INS_INQUIRY = Inquiry("stand-ins", _CODING, ask_of_stand_ins)
CLAIMS_INQUIRY = Inquiry("claims", _CODING | {TaskType.DOCS}, ask_of_claims)
