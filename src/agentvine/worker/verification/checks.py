"""What done means for each type, as named questions about what was found out. Pure: facts in, checks out."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.domain.worker_types import TaskType
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.compare import Change, compare, reproducing
from agentvine.worker.verification.reading import Read
from agentvine.worker.verification.results import CaseOutcome
from agentvine.worker.verification.runs import RunVerdict, TestRun, Trouble

_SHOWN = 10
_SHOWING = frozenset({RunVerdict.PASSED, RunVerdict.FAILED})
"""Runs from which something is known of tests."""
_MEND = "say how they are run in .agentvine.toml on the base branch ([test] command = …)"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the worker found out about a result. A run is None where there was nothing to run, or no need."""

    type: TaskType
    changed: tuple[str, ...]
    """Paths of the files that differ between base and result."""
    before: TestRun | None = None
    """The tests on the base."""
    after: TestRun | None = None
    """The tests on the result."""
    crossed: TestRun | None = None
    """The result's tests on the base's code; for a refactoring the base's tests on the result's code."""
    read: Read = field(default_factory=Read)
    """What the changed files say."""
    living: frozenset[str] = frozenset()
    """Tests that only the base has and that nobody misses, see `living_on`."""


def checks(found: Findings) -> tuple[Check, ...]:
    """The definition of done of this type, checked. Not for reviews, see `review_checks`."""
    if not found.changed:
        return (_failed("has changes", "nothing was committed"),)
    return (Check(name="has changes", outcome=CheckOutcome.PASSED), *_of_type(found))


def review_checks(changed: Collection[str], problems: Collection[str]) -> tuple[Check, ...]:
    """Those of a review: no file changed, and findings that can be looked up. `problems` say which cannot."""
    untouched = f"a review changes no file, but these were changed: {_some(changed)}" if changed else ""
    return (
        _check("no file changed", untouched),
        _check("findings name places that exist", "\n".join(list(problems)[:_SHOWN])),
    )


def _of_type(found: Findings) -> Iterator[Check]:
    match found.type:
        case TaskType.DOCS:
            yield from _tests_stay(found, needed=False)
            yield _check("links lead somewhere", "\n".join(found.read.dangling))
            yield _check("fenced code can be read", "\n".join(found.read.unreadable))
        case TaskType.BUGFIX:
            yield from _tests_stay(found)
            yield _not_weakened(found)
            yield _reproduced(found)
        case TaskType.REFACTOR:
            yield from _tests_stay(found)
            yield _not_weakened(found)
            yield _behaviour_kept(found)
            yield _check("the public API is kept", "\n".join(found.read.taken_away))
        case TaskType.FEATURE:
            yield from _tests_stay(found)
            yield _not_weakened(found)
            yield _new_tests(found)
            yield _needed(found)
        case TaskType.TEST | TaskType.REVIEW:
            yield from _tests_stay(found)
            yield _not_weakened(found)
            yield _new_tests(found)


def _tests_stay(found: Findings, *, needed: bool = True) -> Iterator[Check]:
    yield _tests_pass(found, needed=needed)
    yield _nothing_broke(found)


def _tests_pass(found: Findings, *, needed: bool) -> Check:
    name, after, before = "tests pass", found.after, found.before
    if after is None:
        outcome = CheckOutcome.UNKNOWN if needed else CheckOutcome.NOT_APPLICABLE
        return Check(name=name, outcome=outcome, why=f"no command that runs tests was found; {_MEND}")
    if not needed and after.verdict not in _SHOWING and _same(before, after):
        return Check(name=name, outcome=CheckOutcome.NOT_APPLICABLE, why=f"as on the base: {after.why}")
    if after.verdict is RunVerdict.PASSED:
        return Check(name=name, outcome=CheckOutcome.PASSED, why=_repeated(after), seconds=after.seconds)
    if after.verdict is RunVerdict.UNKNOWN:
        return Check(name=name, outcome=CheckOutcome.UNKNOWN, why=after.why)
    if after.verdict is RunVerdict.FAILED and before is not None and before.verdict is RunVerdict.FAILED:
        return _red_already(name, before, after)
    if after.verdict is RunVerdict.FAILED and after.unsteady:
        return _failed(name, _flaky(after, before))
    return _failed(name, _why_not_run(before, after))


def _repeated(run: TestRun) -> str:
    return f"in each of {run.times} runs" if run.times > 1 else ""


def _why_not_run(before: TestRun | None, after: TestRun) -> str:
    """Why they did not pass, and what would mend it where that is not plain."""
    if after.verdict is RunVerdict.NO_TESTS:
        return f"{after.why}: add tests that it finds, or {_MEND}"
    if after.trouble is Trouble.TIMED_OUT:
        ended = f"; on the base they end after {before.seconds / before.times:.0f} s" if _known(before) else ""
        return f"{after.why}{ended}: see to it that no test waits for what never comes"
    if after.trouble is Trouble.SET_UP and before is not None and before.trouble is None:
        return f"{after.why}\non the base it works: mend what your change does to it"
    return after.why


def _known(run: TestRun | None) -> TypeGuard[TestRun]:
    return run is not None and run.verdict in _SHOWING


def _same(before: TestRun | None, after: TestRun) -> bool:
    return before is not None and before.verdict is after.verdict


def _red_already(name: str, before: TestRun, after: TestRun) -> Check:
    """The base's tests fail, too: only failures that are new count, and none of tests that are flaky there."""
    if before.cases is None or after.cases is None:
        why = "the repository is red already: they fail on the base, too, and the runner does not name them; mend them "
        return Check(name=name, outcome=CheckOutcome.UNKNOWN, why=f"{why}first, or {_MEND}")
    new = after.named(CaseOutcome.FAILED) - before.named(CaseOutcome.FAILED)
    if new & after.unsteady:
        return _failed(name, _flaky(after, before))
    if new:
        return _failed(name, f"{len(new)} fail that did not fail on the base: {_some(new)}")
    old = after.named(CaseOutcome.FAILED)
    if not old:
        return _failed(name, after.why)
    flaky, red = old & before.unsteady, old - before.unsteady
    words = [f"the base was red already; these {len(red)} fail on it, too: {_some(red)}"] if red else []
    words += (
        [f"these {len(flaky)} are flaky on the base, so nothing follows from them: {_some(flaky)}"] if flaky else []
    )
    return Check(name=name, outcome=CheckOutcome.PASSED, why="; ".join(words), seconds=after.seconds)


def _flaky(after: TestRun, before: TestRun | None) -> str:
    """Which tests pass now and then on the result, and what else fails."""
    known = before.named(CaseOutcome.FAILED) if before else frozenset()
    flaky = after.unsteady - known
    steady = after.named(CaseOutcome.FAILED) - after.unsteady - known
    more = f"; {len(steady)} fail in all runs: {_some(steady)}" if steady else ""
    return (
        f"{len(flaky)} are flaky, they did not end alike in {after.times} runs: {_some(flaky)}; make them steady{more}"
    )


def _nothing_broke(found: Findings) -> Check:
    name, before, after = "what was green is green", found.before, found.after
    if before is None or before.verdict not in _SHOWING:
        why = f"nothing is known of tests on the base: {before.why if before else 'there are none'}"
        return Check(name=name, outcome=CheckOutcome.NOT_APPLICABLE, why=why)
    if before.cases is None or after is None or after.cases is None:
        why = "the runner does not name tests; only whether all pass is known"
        return Check(name=name, outcome=CheckOutcome.NOT_APPLICABLE, why=why)
    return _check(name, _broken(before, after, found.living))


def _broken(before: TestRun, after: TestRun, living: Collection[str] = ()) -> str:
    """Which tests passed before and do not pass after; empty if there are none.

    A test that is flaky on the base may fail, but it may not go.
    """
    found = compare([before.outcomes], [after.outcomes])
    words = {
        Change.NEWLY_FAILING: "fail now",
        Change.NEWLY_SKIPPED: "are skipped now",
        Change.REMOVED: "are gone",
    }
    at_risk = {*found.lost, *(before.unsteady & {*found.named(Change.NEWLY_SKIPPED, Change.REMOVED)})}
    at_risk.difference_update(living)
    lost = {change: [name for name in at_risk if found.tests[name].change is change] for change in words}
    return "; ".join(f"{len(names)} {words[change]}: {_some(names)}" for change, names in lost.items() if names)


def _not_weakened(found: Findings) -> Check:
    return _check("no test was weakened", "\n".join(found.read.weakened))


def _new_tests(found: Findings) -> Check:
    name, after = "new tests run and pass", found.after
    touched = [path for path in found.changed if kind_of(path) is FileKind.TEST]
    if after is None or after.cases is None:
        passed = after is not None and after.verdict is RunVerdict.PASSED
        if touched and passed:
            why = f"the runner does not name tests; these files of tests changed: {_some(touched)}"
            return Check(name=name, outcome=CheckOutcome.PASSED, why=why)
        return _failed(name, "no test came with the change" if not touched else "the tests do not pass")
    known = found.before.cases if found.before and found.before.cases else {}
    new = after.named(CaseOutcome.PASSED) - known.keys()
    return _check(name, "" if new else "no test ran that was not there before: add tests that the test command finds")


def _reproduced(found: Findings) -> Check:
    """At least one test passes on the result that fails on the base's code."""
    name, after = "a test reproduces the bug", found.after
    crossed = found.crossed or found.before
    if after is None or crossed is None:
        return Check(name=name, outcome=CheckOutcome.UNKNOWN, why=f"the tests could not be run; {_MEND}")
    if after.cases is None or crossed.cases is None:
        shown = after.verdict is RunVerdict.PASSED and crossed.verdict is RunVerdict.FAILED
        return _check(name, "" if shown else "the tests pass on the base, too: add one that fails there")
    shown_by = [name for name in reproducing(crossed.by_id, after.by_id) if name not in _flaky_before(found)]
    if not shown_by:
        return _failed(name, "no test fails on the base's code and passes on yours: add one that shows the bug")
    return Check(name=name, outcome=CheckOutcome.PASSED, why=f"shown by {_some(shown_by)}")


def _flaky_before(found: Findings) -> frozenset[str]:
    return found.before.unsteady if found.before else frozenset()


def _needed(found: Findings) -> Check:
    """At least one of the new tests fails without the change."""
    name, after, crossed = "the new tests fail without the change", found.after, found.crossed
    if after is None or crossed is None:
        return _failed(name, "no test came with the change")
    if after.cases is None or crossed.cases is None:
        shown = after.verdict is RunVerdict.PASSED and crossed.verdict is RunVerdict.FAILED
        return _check(name, "" if shown else "the tests pass without your change, too: add one that shows what it does")
    known = found.before.cases if found.before and found.before.cases else {}
    new = after.named(CaseOutcome.PASSED) - known.keys()
    idle = new - {*reproducing(crossed.by_id, after.by_id)}
    if new and len(idle) == len(new):
        return _failed(name, f"they pass without it: {_some(idle)}; add one that shows what your change does")
    why = f"these pass without it, too: {_some(idle)}" if idle else ""
    return Check(name=name, outcome=CheckOutcome.PASSED, why=why)


def _behaviour_kept(found: Findings) -> Check:
    name, before = "the base's own tests pass on the result", found.before
    crossed = found.crossed or found.after
    if before is None or crossed is None or before.verdict not in _SHOWING:
        why = f"there are no tests on the base that could show it; {_MEND}"
        return Check(name=name, outcome=CheckOutcome.UNKNOWN, why=why)
    if before.cases is None or crossed.cases is None:
        return _check(name, "" if crossed.verdict is RunVerdict.PASSED else crossed.why or crossed.verdict.value)
    return _check(name, _broken(before, crossed))


def _check(name: str, wrong: str) -> Check:
    return _failed(name, wrong) if wrong else Check(name=name, outcome=CheckOutcome.PASSED)


def _failed(name: str, why: str) -> Check:
    return Check(name=name, outcome=CheckOutcome.FAILED, why=why[:10_000] or "it failed")


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
