import pytest

from agentvine.domain.evidence import CheckOutcome, CommandRecord
from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.cases import Outcome, TestCase
from agentvine.worker.verification.checks import Findings, checks, review_checks
from agentvine.worker.verification.reading import Read
from agentvine.worker.verification.repeated import doubtful, together
from agentvine.worker.verification.results import CaseOutcome
from agentvine.worker.verification.runs import RunVerdict, TestRun, Trouble

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


def whys(found: Findings) -> dict[str, str]:
    return {check.name: check.why for check in checks(found)}


def test_runs_taken_together_tell_what_is_flaky() -> None:
    both = together(run(a=P, b=F, c=P, d=P), run(a=F, b=F, c=P))
    assert both.verdict is RunVerdict.FAILED
    assert both.unsteady == {"t.js::a", "t.js::d"}  # what is not always there is not steady either
    assert both.why == "2 do not end alike in 2 runs: t.js::a, t.js::d; 1 fail in all: t.js::b"
    assert (both.counts.flaky, both.counts.runs, both.counts.passed) == (("t.js::a", "t.js::d"), 2, 1)
    assert together(both, run(a=P, b=F, c=P, d=P)).unsteady == both.unsteady
    assert together(run(a=P), run(a=P)).verdict is RunVerdict.PASSED
    hangs = run(RunVerdict.BROKEN).model_copy(update={"cases": None, "trouble": Trouble.TIMED_OUT})
    assert together(run(a=P), hangs).trouble is Trouble.TIMED_OUT
    assert doubtful(run(a=P, b=F), run(a=F, b=F, new=F)) == {"t.js::a"}
    assert doubtful(together(run(a=P), run(a=F)), run(a=F)) == frozenset()


def test_what_is_flaky_on_the_base_counts_for_nothing_and_what_is_flaky_on_the_result_against_it() -> None:
    shaky = together(run(a=P, b=P), run(a=F, b=P))
    excused = Findings(TaskType.FEATURE, ("a.py",), shaky, run(a=F, b=P, new=P), run(a=P, b=P, new=F))
    assert set(outcomes(excused).values()) == {YES}
    assert "these 1 are flaky on the base, so nothing follows from them: t.js::a" in whys(excused)["tests pass"]
    blamed = Findings(TaskType.FEATURE, ("a.py",), run(a=P, b=P), together(run(a=P, b=F), run(a=F, b=F)))
    assert "1 are flaky, they did not end alike in 2 runs: t.js::a" in whys(blamed)["tests pass"]
    assert "1 fail in all runs: t.js::b" in whys(blamed)["tests pass"]
    assert outcomes(Findings(TaskType.FEATURE, ("a.py",), shaky, run(b=P)))["what was green is green"] is NO
    assert bugfix(shaky, run(a=P, b=P), run(a=F, b=P))["a test reproduces the bug"] is NO  # it was chance


def test_runs_that_came_to_nothing_say_what_to_do() -> None:
    none = run(RunVerdict.NO_TESTS).model_copy(update={"why": "no tests were found by `make test`"})
    told = whys(Findings(TaskType.FEATURE, ("a.py",), none, none))["tests pass"]
    assert told.startswith("no tests were found by `make test`: add tests that it finds, or say how they are run in")
    late = run(RunVerdict.BROKEN).model_copy(update={"why": "they did not end in time", "trouble": Trouble.TIMED_OUT})
    told = whys(Findings(TaskType.FEATURE, ("a.py",), run(a=P).model_copy(update={"seconds": 9.0}), late))["tests pass"]
    assert told.startswith("they did not end in time; on the base they end after 9 s: see to it")
    unset = run(RunVerdict.BROKEN).model_copy(update={"why": "the set-up ended with 1", "trouble": Trouble.SET_UP})
    assert "on the base it works" in whys(Findings(TaskType.FEATURE, ("a.py",), run(a=P), unset))["tests pass"]
    red = uncounted(RunVerdict.FAILED)
    assert "red already" in whys(Findings(TaskType.FEATURE, ("a.py",), red, red))["tests pass"]
