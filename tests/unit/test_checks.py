import pytest

from agentvine.domain.evidence import CheckOutcome, CommandRecord
from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.cases import Outcome, TestCase
from agentvine.worker.verification.checks import Findings, checks, review_checks
from agentvine.worker.verification.reading import Read
from agentvine.worker.verification.results import CaseOutcome
from agentvine.worker.verification.runs import RunVerdict, TestRun

P, F, S = CaseOutcome.PASSED, CaseOutcome.FAILED, CaseOutcome.SKIPPED
_FULL = {P: Outcome.PASSED, F: Outcome.FAILED, S: Outcome.SKIPPED}
YES, NO, NA, UNKNOWN = CheckOutcome.PASSED, CheckOutcome.FAILED, CheckOutcome.NOT_APPLICABLE, CheckOutcome.UNKNOWN


def run(verdict: RunVerdict | None = None, **cases: CaseOutcome) -> TestRun:
    record = CommandRecord(argv=("t",), where="base", exit_code=0, seconds=1.0, output_sha256="0" * 64)
    found = verdict or (RunVerdict.FAILED if F in cases.values() else RunVerdict.PASSED)
    # what is called `file` is no test, but a file that did not load; all tests stand in it
    tests = tuple(
        TestCase(file="t.js", name="t.js" if name == "file" else name, outcome=_FULL[outcome], container=name == "file")
        for name, outcome in cases.items()
    )
    known = {test.id: outcome for test, outcome in zip(tests, cases.values(), strict=True)}
    why = "" if found is RunVerdict.PASSED else found.value
    return TestRun(verdict=found, why=why, cases=known, tests=tests, record=record)


def uncounted(verdict: RunVerdict) -> TestRun:
    return run(verdict).model_copy(update={"cases": None})


def outcomes(found: Findings) -> dict[str, CheckOutcome]:
    return {check.name: check.outcome for check in checks(found)}


def bugfix(before: TestRun | None, after: TestRun | None, crossed: TestRun | None = None) -> dict[str, CheckOutcome]:
    return outcomes(Findings(TaskType.BUGFIX, ("a.py", "tests/test_a.py"), before, after, crossed))


def test_nothing_committed_is_nothing_done() -> None:
    assert outcomes(Findings(TaskType.FEATURE, ())) == {"has changes": NO}


@pytest.mark.parametrize("kind", [kind for kind in TaskType if kind is not TaskType.REVIEW])
def test_what_was_green_and_is_not_fails_for_every_type(kind: TaskType) -> None:
    changed = {"docs": ("README.md",), "test": ("tests/test_a.py",)}.get(kind.value, ("a.py", "tests/test_a.py"))
    for after in (run(a=F, new=P), run(a=S, new=P), run(new=P)):
        found = outcomes(Findings(kind, changed, run(a=P), after, run(a=P, new=F)))
        assert found["what was green is green"] is NO


def test_a_bug_is_reproduced_by_a_test_that_fails_on_the_base() -> None:
    name = "a test reproduces the bug"
    assert bugfix(run(a=P), run(a=P, new=P), run(a=P, new=F))[name] is YES
    assert bugfix(run(a=P), run(a=P, new=P), run(a=P, new=P))[name] is NO
    assert bugfix(run(a=P), run(a=P, new=F), run(a=P, new=F))[name] is NO
    # a file that cannot be loaded on the base takes its tests with it
    assert bugfix(run(a=P), run(a=P, new=P), run(a=P, file=F))[name] is YES
    # the base has a red test already, and no test came with the fix
    assert bugfix(run(a=F), run(a=P))[name] is YES
    assert bugfix(run(a=P), run(a=P))[name] is NO
    assert bugfix(uncounted(RunVerdict.PASSED), uncounted(RunVerdict.PASSED), uncounted(RunVerdict.FAILED))[name] is YES
    assert bugfix(uncounted(RunVerdict.PASSED), uncounted(RunVerdict.PASSED), uncounted(RunVerdict.PASSED))[name] is NO
    assert bugfix(None, None)[name] is UNKNOWN


def test_on_a_red_base_only_new_failures_count_and_it_is_said() -> None:
    found = checks(Findings(TaskType.BUGFIX, ("a.py",), run(a=F, b=F, c=P), run(a=P, b=F, c=P), None))
    (passing,) = [check for check in found if check.name == "tests pass"]
    assert passing.outcome is YES
    assert "the base was red already" in passing.why
    assert "b" in passing.why
    assert bugfix(run(a=F), run(a=F, b=F), run(a=F, b=F))["tests pass"] is NO
    assert bugfix(uncounted(RunVerdict.FAILED), uncounted(RunVerdict.FAILED))["tests pass"] is UNKNOWN


def test_a_features_tests_fail_without_it() -> None:
    name, changed = "the new tests fail without the change", ("a.py", "tests/test_a.py")

    def judged(after: TestRun, crossed: TestRun | None) -> CheckOutcome:
        return outcomes(Findings(TaskType.FEATURE, changed, run(a=P), after, crossed))[name]

    assert judged(run(a=P, new=P), run(a=P, new=F)) is YES
    assert judged(run(a=P, new=P), run(a=P, new=P)) is NO
    assert judged(run(a=P, one=P, two=P), run(a=P, one=F, two=P)) is YES
    assert judged(run(a=P, new=P), run(a=P, file=F)) is YES
    assert judged(run(a=P), None) is NO
    assert judged(uncounted(RunVerdict.PASSED), uncounted(RunVerdict.FAILED)) is YES
    assert judged(uncounted(RunVerdict.PASSED), uncounted(RunVerdict.PASSED)) is NO


def test_what_was_read_counts_for_the_types_that_it_is_about() -> None:
    read = Read(weakened=("w",), taken_away=("t",), dangling=("d",), unreadable=("u",))
    names = {"no test was weakened", "the public API is kept", "links lead somewhere", "fenced code can be read"}
    wanted = {
        TaskType.FEATURE: {"no test was weakened"},
        TaskType.BUGFIX: {"no test was weakened"},
        TaskType.TEST: {"no test was weakened"},
        TaskType.REFACTOR: {"no test was weakened", "the public API is kept"},
        TaskType.DOCS: {"links lead somewhere", "fenced code can be read"},
    }
    for kind, expected in wanted.items():
        bad = outcomes(Findings(kind, ("a.py",), run(a=P), run(a=P), read=read))
        good = outcomes(Findings(kind, ("a.py",), run(a=P), run(a=P)))
        assert {name for name in names if bad.get(name) is NO} == expected
        assert {name for name in names if good.get(name) is YES} == expected


@pytest.mark.parametrize("kind", [TaskType.FEATURE, TaskType.TEST])
def test_new_tests_have_to_run_and_pass(kind: TaskType) -> None:
    changed = ("tests/test_a.py",)
    name = "new tests run and pass"
    assert outcomes(Findings(kind, changed, run(a=P), run(a=P, b=P)))[name] is YES
    assert outcomes(Findings(kind, changed, run(a=P), run(a=P)))[name] is NO
    assert outcomes(Findings(kind, changed, run(a=P), run(a=P, b=S)))[name] is NO
    assert outcomes(Findings(kind, changed, run(RunVerdict.NO_TESTS), run(b=P)))[name] is YES
    assert outcomes(Findings(kind, changed, None, uncounted(RunVerdict.PASSED)))[name] is YES
    assert outcomes(Findings(kind, ("a.py",), None, uncounted(RunVerdict.PASSED)))[name] is NO
    assert outcomes(Findings(kind, changed, None, None))[name] is NO


@pytest.mark.parametrize("after", [None, run(RunVerdict.NO_TESTS), run(RunVerdict.BROKEN)])
@pytest.mark.parametrize("kind", [TaskType.FEATURE, TaskType.BUGFIX, TaskType.TEST, TaskType.REFACTOR])
def test_no_tests_is_never_called_passed(kind: TaskType, after: TestRun | None) -> None:
    found = outcomes(Findings(kind, ("tests/test_a.py",), after, after))
    assert found["tests pass"] in {NO, UNKNOWN}


@pytest.mark.parametrize("run_", [None, run(RunVerdict.NO_TESTS), run(RunVerdict.BROKEN)])
def test_documentation_can_do_without_tests(run_: TestRun | None) -> None:
    found = outcomes(Findings(TaskType.DOCS, ("README.md",), run_, run_))
    assert found["tests pass"] is NA
    assert NO not in found.values()


def test_a_refactoring_is_judged_by_the_base_s_tests() -> None:
    name = "the base's own tests pass on the result"

    def refactor(before: TestRun | None, crossed: TestRun | None) -> CheckOutcome:
        return outcomes(Findings(TaskType.REFACTOR, ("a.py",), before, run(a=P), crossed))[name]

    assert refactor(run(a=P, b=P), run(a=P, b=P)) is YES
    assert refactor(run(a=P, b=P), run(a=P)) is NO
    assert refactor(run(a=P), run(a=F)) is NO
    assert refactor(run(a=P), None) is YES  # no test changed: the result's own run is that run
    assert refactor(None, None) is UNKNOWN
    assert refactor(run(RunVerdict.NO_TESTS), None) is UNKNOWN


def test_a_review_changes_nothing_and_points_somewhere() -> None:
    assert [check.outcome for check in review_checks((), ())] == [YES, YES]
    assert [check.outcome for check in review_checks(("a.py",), ("x.py:1: there is no such file",))] == [NO, NO]
