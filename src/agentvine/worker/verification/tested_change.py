"""Whether the new tests look at what was changed: they run it, and they notice faults in it.

The new tests run alone on the result, measured; then again on the result with one small fault in the lines that they
ran. A result whose tests never come to the changed code, or notice none of several faults in it, is not believed.
Where this cannot be measured, it is said and nothing follows.
"""

import asyncio
import re
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.hostile import Refused
from agentvine.worker.verification.changed_lines import Reached, changed_lines, reached, reached_lines, statements
from agentvine.worker.verification.compare import reproducing
from agentvine.worker.verification.found import TestCommand
from agentvine.worker.verification.inquiry import Answer, Facts, Inquiry
from agentvine.worker.verification.measuring import Lines, Measurement, executed, measured, only
from agentvine.worker.verification.mutants import Mutant, Tried, in_words, mutants, objection
from agentvine.worker.verification.overlay import with_texts
from agentvine.worker.verification.reaching import ELSEWHERE, only_names, runs_nothing
from agentvine.worker.verification.report_files import read_reports
from agentvine.worker.verification.results import CaseOutcome
from agentvine.worker.verification.runs import RunVerdict, TestRun, run_tests

RUN = "the tests run the changed code"
NOTICE = "the tests notice faults in it"
_MOST_FILES = 200
_LARGEST = 512 * 1024
_LARGEST_FOUND = 32 * 1024 * 1024
_MOST_MUTANTS = 4
_ALL_TRIED = 3
_TOO_SLOW = 120.0
"""Seconds of one measured run beyond which no faults are tried."""
_PROGRAMS = frozenset(
    {
        ".py",
        ".js",
        ".mjs",
        ".cjs",
        ".jsx",
        ".ts",
        ".tsx",
        ".go",
        ".rs",
        ".java",
        ".kt",
        ".rb",
        ".c",
        ".cc",
        ".cpp",
        ".h",
        ".sh",
    }
    | {".html", ".sql", ".jinja", ".j2", ".css", ".php", ".cs", ".swift", ".scala", ".pyx", ".vue", ".svelte"}
)
_NOT_TESTED = re.compile(
    r"(^|/)(setup|noxfile|conf|fabfile|tasks|manage|gunicorn\.conf)\.py$|(^|/)(migrations|alembic|scripts|bin|tools)/"
)
"""Code that the tests of few repositories come to."""
_CLAIMED = re.compile(r"assert|^Failed\b|DID NOT|expect", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_]\w+")


@dataclass(frozen=True, slots=True)
class _Sources:
    """Texts of the result, and of the base as far as they differ; None: not there."""

    code: Mapping[str, tuple[str | None, str]]
    """Changed files of code."""
    tests: Mapping[str, tuple[str | None, str]]
    """Files that hold new tests."""

    @property
    def words(self) -> frozenset[str]:
        """The names in the new lines of tests."""
        lines = []
        for before, after in self.tests.values():
            rows, changed = after.splitlines(), changed_lines(before, after)
            lines += [rows[line - 1] for line in sorted(changed) if line <= len(rows)]
        return frozenset(_WORD.findall("\n".join(lines)))


async def ask(facts: Facts) -> Answer:
    """Run the new tests as said above. Raises GitFailed, LimitExceeded."""
    command, after = facts.ground.commands.test, facts.after
    new = _new_tests(facts)
    if command is None or after is None or not new:
        return Answer()
    files = sorted({case.file for name, case in after.by_id.items() if name in new and case.file})
    chosen = only(command, sorted(new), files)
    measurement = measured(chosen, f".agentvine-{secrets.token_hex(8)}")
    if measurement is None:
        why = f"whether the new tests run the changed code: not known how to measure {command.runner}"
        return Answer(remarks=(why,))
    sources = await _sources(facts, files)
    run, able, lines = await _measured(facts, measurement, sources)
    if able and lines is None and run.verdict is RunVerdict.PASSED:
        why = "the run of the new tests was ended from within: what it had measured was never written"
        return Answer((Check(name=RUN, outcome=CheckOutcome.UNKNOWN, why=why),))
    if run.verdict not in {RunVerdict.PASSED, RunVerdict.FAILED} or lines is None:
        return Answer(remarks=("whether the new tests run the changed code: it could not be measured",))
    return await _judged(facts, chosen, run, measurement, sources, lines)


async def _judged(
    facts: Facts, command: TestCommand, run: TestRun, measurement: Measurement, sources: _Sources, lines: Lines
) -> Answer:
    """What follows from the lines that were run, and from faults in them."""
    tested = await _texts_of_code(facts, measurement.suffixes)
    wrong = runs_nothing(tested, lines, sources.tests, ()) if _sure(facts, measurement) else ""
    if facts.subject.type is TaskType.TEST:
        if wrong and runs_nothing(tested, lines, sources.tests, sources.words):
            return Answer((Check(name=RUN, outcome=CheckOutcome.FAILED, why=wrong),))
        code = {path: (text, lines[path]) for path, text in tested.items() if path in lines}
        return await _faults(facts, command, run, code, sources.words)
    check = _runs_it(facts, measurement, sources, lines)
    if wrong and facts.subject.type is TaskType.BUGFIX and only_names(sources.code, facts.subject.asked):
        check = Check(name=RUN, outcome=CheckOutcome.FAILED, why=wrong)
    if check.outcome is CheckOutcome.FAILED:
        return Answer((check,))
    within = {path: _within(before, now, lines.get(path, ())) for path, (before, now) in sources.code.items()}
    changed = {path: (now, within[path]) for path, (_, now) in sources.code.items()}
    more = await _faults(facts, command, run, changed, sources.words)
    return Answer((check, *more.checks), more.remarks)


def _new_tests(facts: Facts) -> frozenset[str]:
    """The tests that speak for the change: they are new, or fail on the base's code, and pass."""
    after = facts.after
    if after is None or after.cases is None:
        return frozenset()
    known = facts.before.cases if facts.before and facts.before.cases else {}
    new = after.named(CaseOutcome.PASSED) - known.keys()
    crossed = facts.crossed or facts.before
    if crossed is not None and facts.subject.type is not TaskType.TEST:
        shown = frozenset(reproducing(crossed.by_id, after.by_id))
        return (shown or new) if facts.subject.type is TaskType.BUGFIX else new | shown
    return new


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _sources(facts: Facts, tests: Collection[str]) -> _Sources:
    subject = facts.subject
    code = [path for path in facts.changed if kind_of(path) is FileKind.CODE and not _NOT_TESTED.search(path)]
    found: list[dict[str, tuple[str | None, str]]] = []
    for paths in (code, list(tests)):
        texts = {}
        for path in paths[:_MOST_FILES]:
            after = await _text(subject.commits, subject.head, path)
            if after is not None:
                texts[path] = (await _text(subject.commits, subject.base, path), after)
        found.append(texts)
    return _Sources(*found)


async def _text(commits: BareRepository, commit: str, path: str) -> str | None:
    content = await commits.read_file(commit, path, _LARGEST + 1)
    if content is None or len(content) > _LARGEST:
        return None
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


async def _measured(facts: Facts, measurement: Measurement, sources: _Sources) -> tuple[TestRun, bool, Lines | None]:
    """Run the tests on the result, measured: the run, whether it could be measured at all, and the lines."""
    texts = {path: after for path, (_, after) in sources.code.items()}
    if facts.subject.type is TaskType.TEST:
        texts = await _texts_of_code(facts, measurement.suffixes)
    async with facts.ground.trial(facts.subject.head, "result") as trial:
        if trial.broken is not None:
            return trial.broken, False, None
        run = await run_tests(measurement.command, trial.place, "result", trial.box, facts.ground.longest)
        try:
            reports = await asyncio.to_thread(read_reports, trial.place, measurement.found, _LARGEST_FOUND)
            root = b"".join(await asyncio.to_thread(read_reports, trial.place, measurement.root, 10_000))
        except Refused:
            return run, True, None
    found = executed(measurement, reports, root.decode("utf-8", "replace"), texts)
    return run, bool(root), found


async def _texts_of_code(facts: Facts, suffixes: Collection[str]) -> dict[str, str]:
    """The result's code."""
    subject, texts = facts.subject, dict[str, str]()
    for file in await subject.commits.list_tree(subject.head):
        suited = PurePosixPath(file.path).suffix in suffixes and kind_of(file.path) is FileKind.CODE
        if suited and len(texts) < _MOST_FILES:
            text = await _text(subject.commits, subject.head, file.path)
            if text is not None:
                texts[file.path] = text
    return texts


# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _runs_it(facts: Facts, measurement: Measurement, sources: _Sources, lines: Lines) -> Check:
    """Whether any of what was changed was run."""
    ours = {path: texts for path, texts in sources.code.items() if PurePosixPath(path).suffix in measurement.suffixes}
    python = ".py" in measurement.suffixes
    found = reached(ours, lines, sources.words) if python else reached_lines(ours, lines)
    if not found.statements:
        why = "nothing was changed that could be run and measured"
        return Check(name=RUN, outcome=CheckOutcome.NOT_APPLICABLE, why=why)
    if found.run:
        missed = f"; not run: {found.shown()}" if found.missed else ""
        why = f"{len(found.run)} of {len(found.statements)} changed statements{missed}"
        return Check(name=RUN, outcome=CheckOutcome.PASSED, why=why[:10_000])
    if doubt := _doubt(facts, found, sources, lines):
        return Check(name=RUN, outcome=CheckOutcome.NOT_APPLICABLE, why=f"none was seen to be run, but {doubt}")
    why = f"the new tests run none of it ({found.shown()}): call what you changed, and assert what it has to do"
    return Check(name=RUN, outcome=CheckOutcome.FAILED, why=why[:10_000])


def _sure(facts: Facts, measurement: Measurement) -> bool:
    """True if whatever code of the repository the tests run in Python would have been seen."""
    return ".py" in measurement.suffixes and facts.ground.commands.setup is None


def _doubt(facts: Facts, found: Reached, sources: _Sources, lines: Lines) -> str:
    """Why nothing follows from it that no changed statement was seen to be run."""
    if not found.inside:
        return "all that was changed stands outside of functions"
    programs = {path for path in facts.changed if kind_of(path) is FileKind.CODE}
    others = sorted(path for path in programs - sources.code.keys() if PurePosixPath(path).suffix in _PROGRAMS)
    others += sorted(
        path for path in sources.code if path not in {one.path for one in found.statements} and _runs(path)
    )
    if others:
        return f"these were changed, too, and were not measured: {', '.join(others[:5])}"
    if facts.ground.commands.setup is not None and not any(path in lines for path in sources.code):
        return "the tests may run an installed copy of it"
    if any(ELSEWHERE.search(after) for _, after in sources.tests.values()):
        return "the tests may run it where that is not seen"
    return ""


def _runs(path: str) -> bool:
    suffix = PurePosixPath(path).suffix
    return suffix in _PROGRAMS and suffix != ".py"


def _within(before: str | None, after: str, lines: Collection[int]) -> frozenset[int]:
    """The changed lines that were run, with all the lines of the statements that they belong to."""
    changed, run = changed_lines(before, after), set(lines)
    wanted = set(changed & run)
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for one in statements("", after):
            if not run.isdisjoint(one.lines) and not changed.isdisjoint(one.lines):
                wanted |= set(one.lines)
    return frozenset(wanted)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _faults(
    facts: Facts,
    command: TestCommand,
    run: TestRun,
    code: Mapping[str, tuple[str, Collection[int]]],
    words: Collection[str],
) -> Answer:
    """Put faults into `code` (path → text and lines), one at a time, and run the tests on each."""
    texts = {path: text for path, (text, _) in code.items()}
    lines = {path: where for path, (_, where) in code.items()}
    wanted = await asyncio.to_thread(mutants, texts, lines, _MOST_MUTANTS, words)
    if not wanted:
        why = "no fault was found that could be put into the lines that the tests run"
        return Answer((Check(name=NOTICE, outcome=CheckOutcome.NOT_APPLICABLE, why=why),))
    if run.seconds > _TOO_SLOW:
        return Answer(remarks=("whether the tests notice faults: they take too long to be run several times",))
    tried = await _tried(facts, command, wanted)
    if wrong := objection(tried, may_stumble=facts.subject.type is TaskType.BUGFIX):
        return Answer((Check(name=NOTICE, outcome=CheckOutcome.FAILED, why=wrong[:10_000]),))
    if not any(one.noticed for one in tried):
        why = f"too few faults were tried to tell: {in_words(tried)}"
        return Answer((Check(name=NOTICE, outcome=CheckOutcome.NOT_APPLICABLE, why=why[:10_000]),))
    return Answer((Check(name=NOTICE, outcome=CheckOutcome.PASSED, why=in_words(tried)[:10_000]),))


async def _tried(facts: Facts, command: TestCommand, wanted: Collection[Mutant]) -> list[Tried]:
    """Try one after the other; for new tests of old code three, else until one is noticed."""
    least = _ALL_TRIED if facts.subject.type is TaskType.TEST else 1
    tried: list[Tried] = []
    for mutant in wanted:
        if len(tried) >= least and any(one.noticed and not one.stumbled for one in tried):
            break
        commit = await with_texts(facts.subject.commits, facts.subject.head, {mutant.path: mutant.text})
        run = await facts.ground.tests(commit, "result", command=command)
        failing = _failing(facts, run)
        noticed, stumbled = failing is None or bool(failing), bool(failing) and _stumbled(run, failing or ())
        tried.append(Tried(mutant, noticed, stumbled))
    return tried


def _failing(facts: Facts, run: TestRun) -> frozenset[str] | None:
    """The tests that fail and do not fail without the fault. None: it was noticed, and not known by which."""
    if run.verdict is RunVerdict.PASSED:
        return frozenset()
    if run.verdict is not RunVerdict.FAILED or run.cases is None or facts.after is None:
        return None
    return run.named(CaseOutcome.FAILED) - facts.after.named(CaseOutcome.FAILED)


def _stumbled(run: TestRun, failing: Collection[str]) -> bool:
    """True if none of the tests that fail says that it asserted something, or expected it to be raised."""
    said = [run.by_id[name].message for name in failing if name in run.by_id]
    first = [message.lstrip().partition("\n")[0] for message in said]
    return all(first) and not any(_CLAIMED.search(line) for line in first)


INQUIRY = Inquiry("tested change", frozenset({TaskType.FEATURE, TaskType.BUGFIX, TaskType.TEST}), ask, costly=True)
