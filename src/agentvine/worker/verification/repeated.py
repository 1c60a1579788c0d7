"""Several runs of the same tests on the same commit, taken together, so that chance is told apart from change.

A test that did not end alike in all of them is unsteady (flaky), and counts as failed: nothing can be built on it. What
follows from that is for `checks.py` to say: on the base it is a fact, on the result it is a fault.
"""

from agentvine.worker.verification.cases import Outcome, TestCase
from agentvine.worker.verification.ground import Ground
from agentvine.worker.verification.results import coarse
from agentvine.worker.verification.runs import RunVerdict, TestRun

MOST_RUNS = 3
"""How often the tests of one commit are run at most, to find out which are flaky."""
_WORST_LAST = (RunVerdict.PASSED, RunVerdict.NO_TESTS, RunVerdict.FAILED, RunVerdict.UNKNOWN, RunVerdict.BROKEN)
_SHOWN = 10


def together(first: TestRun, second: TestRun) -> TestRun:
    """Both runs as one. Where one of them does not name its tests, the worse of the two. Pure."""
    times, seconds = first.times + second.times, first.seconds + second.seconds
    worse = max(first, second, key=lambda run: _WORST_LAST.index(run.verdict))
    if first.cases is None or second.cases is None:
        return worse.model_copy(update={"times": times, "seconds": seconds})
    one, other = first.by_id, second.by_id
    tests = {name: _both(one.get(name), other.get(name)) for name in (*one, *(other.keys() - one.keys()))}
    flaky = sorted(name for name, case in tests.items() if case.unsteady)
    verdict, why = worse.verdict, worse.why
    if flaky and verdict in {RunVerdict.PASSED, RunVerdict.FAILED}:
        verdict, why = RunVerdict.FAILED, f"{len(flaky)} do not end alike in {times} runs: {_some(flaky)}"
        if steady := sorted(name for name, case in tests.items() if case.outcome.bad and not case.unsteady):
            why += f"; {len(steady)} fail in all: {_some(steady)}"
    return worse.model_copy(
        update={
            "verdict": verdict,
            "why": why,
            "cases": coarse(tests),
            "tests": tuple(tests.values()),
            "times": times,
            "seconds": seconds,
        }
    )


def _both(one: TestCase | None, other: TestCase | None) -> TestCase:
    """The test as both runs tell of it. That it failed and that something around it failed is one thing."""
    if one is None or other is None:
        only = one or other
        assert only is not None  # noqa: S101 - one of the two runs has named it
        return only.model_copy(update={"outcome": Outcome.FAILED, "unsteady": True})
    if one.outcome is other.outcome or (one.outcome.bad and other.outcome.bad):
        return one.model_copy(update={"unsteady": one.unsteady or other.unsteady})
    bad = one if one.outcome.bad else other
    return bad.model_copy(update={"outcome": Outcome.FAILED, "unsteady": True})


def doubtful(before: TestRun, after: TestRun) -> frozenset[str]:
    """The tests that fail on the result, always or now and then, and have always passed on the base. Pure."""
    old, new = before.by_id, after.by_id
    return frozenset(
        name
        for name, case in new.items()
        if case.outcome.bad and name in old and old[name].outcome is Outcome.PASSED and not old[name].unsteady
    )


async def repeated(ground: Ground, run: TestRun, commit: str, where: str, times: int) -> TestRun:
    """`run`, and the tests run again on `commit` until they have been run `times` times, or a run has not passed."""
    while run.times < times and run.verdict is RunVerdict.PASSED:
        run = together(run, await ground.tests(commit, where, what=f"{where}, again"))
    return run


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
