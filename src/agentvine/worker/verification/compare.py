"""What became of each test between two commits, as facts. Pure: runs in, one word for each test out.

Each side may have been run several times. A test that did not end alike in all runs of a side is flaky, whatever else
could be said of it: from such a test nothing follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from agentvine.worker.verification.cases import Outcome, TestCase

Run = Mapping[str, Outcome]
"""How each test of one run went, by id."""


class Change(StrEnum):
    """What became of a test, in words for people."""

    FIXED = "fails on the base, passes on the result"
    STILL_PASSES = "still passes"
    STILL_FAILS = "still fails"
    NEWLY_FAILING = "newly failing"
    NEWLY_SKIPPED = "newly skipped"
    """It ran on the base, and on the result it does not, or its failure is declared to be expected."""
    STILL_SKIPPED = "still skipped"
    NO_LONGER_SKIPPED = "no longer skipped"
    """It was skipped on the base, and passes on the result."""
    REMOVED = "removed"
    ADDED = "added"
    FLAKY = "flaky"


@dataclass(frozen=True, slots=True)
class Compared:
    """One test on both sides. None: it was not there."""

    before: Outcome | None
    after: Outcome | None
    change: Change


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tests of either side, by id."""

    tests: Mapping[str, Compared]

    def named(self, *changes: Change) -> tuple[str, ...]:
        """The ids of the tests of which one of `changes` is true, sorted."""
        return tuple(sorted(test for test, compared in self.tests.items() if compared.change in changes))

    def added(self, outcome: Outcome) -> tuple[str, ...]:
        """The ids of the tests that only the result has and that ended so, sorted."""
        return tuple(name for name in self.named(Change.ADDED) if self.tests[name].after is outcome)

    @property
    def lost(self) -> tuple[str, ...]:
        """The tests that showed something on the base and do not on the result: failing, skipped or gone."""
        worse = self.named(Change.NEWLY_FAILING, Change.NEWLY_SKIPPED, Change.REMOVED)
        return tuple(test for test in worse if self.tests[test].before is Outcome.PASSED)


def compare(before: Sequence[Run], after: Sequence[Run]) -> Comparison:
    """What became of each test between the runs on the base and those on the result.

    Raises ValueError unless there is at least one run of each.
    """
    if not before or not after:
        raise ValueError("a comparison needs at least one run of each side")
    names = sorted({name for run in (*before, *after) for name in run})
    return Comparison({name: _compared(name, before, after) for name in names})


def unsteady(runs: Sequence[Run]) -> tuple[str, ...]:
    """The tests that did not end alike in all of `runs`, sorted."""
    names = sorted({name for run in runs for name in run})
    return tuple(name for name in names if len(_endings(name, runs)) > 1)


def reproducing(crossed: Mapping[str, TestCase], after: Mapping[str, TestCase]) -> tuple[str, ...]:
    """The tests that pass in `after` and cannot pass in `crossed` (the same tests on the base's code), sorted.

    They fail there, or what holds them does not even load. A test that is merely absent shows nothing. Where a runner
    does not say in which file a test is, it may be in any that does not load there and does in `after`.
    """
    broken = [case for case in crossed.values() if case.container and case.outcome.bad]
    mended = any(case.id not in after for case in broken)
    files = {case.file for case in broken if case.file}
    loose = [case for case in broken if not case.file]

    def fails(name: str, case: TestCase) -> bool:
        there = crossed.get(name)
        if there is not None:
            return there.outcome.bad and not there.unsteady
        if not case.file and not case.group and mended:
            return True
        places = {case.file, *map(str, PurePosixPath(case.file).parents)}  # a conftest.py breaks its whole folder
        return not files.isdisjoint(places) or any(one.holds(case) for one in loose)

    passing = (
        name
        for name, case in after.items()
        if case.outcome is Outcome.PASSED and not case.unsteady and not case.container
    )
    return tuple(sorted(name for name in passing if fails(name, after[name])))


def _compared(name: str, before: Sequence[Run], after: Sequence[Run]) -> Compared:
    old, new = _endings(name, before), _endings(name, after)
    if len(old) > 1 or len(new) > 1:
        return Compared(before[-1].get(name), after[-1].get(name), Change.FLAKY)
    (was,), (now,) = old, new
    return Compared(was, now, _change(was, now))


def _endings(name: str, runs: Sequence[Run]) -> set[Outcome | None]:
    """How a test ended in the runs. That it failed and that something around it failed is one thing."""
    return {Outcome.FAILED if (ended := run.get(name)) is Outcome.ERRORED else ended for run in runs}


_NOT_RUN = {Outcome.SKIPPED, Outcome.XFAILED}


def _change(was: Outcome | None, now: Outcome | None) -> Change:
    if was is None:
        return Change.ADDED
    if now is None:
        return Change.REMOVED
    if now in _NOT_RUN:
        return Change.STILL_SKIPPED if was in _NOT_RUN else Change.NEWLY_SKIPPED
    if now is Outcome.PASSED:
        return {
            Outcome.PASSED: Change.STILL_PASSES,
            Outcome.SKIPPED: Change.NO_LONGER_SKIPPED,
        }.get(was, Change.FIXED)
    return Change.STILL_FAILS if was.bad else Change.NEWLY_FAILING
