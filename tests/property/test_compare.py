"""What is said of each test between two commits, against the plainest reading of the runs that it is said of."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.cases import Outcome, TestCase
from agentvine.worker.verification.compare import Change, Compared, compare, reproducing, unsteady

P, S, X, F, E = Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.FAILED, Outcome.ERRORED

RUN = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(Outcome))
RUNS = st.lists(RUN, min_size=1, max_size=3)

CHANGES: dict[tuple[Outcome | None, Outcome | None], Change] = {
    # (on the base, on the result): what became of it
    (P, P): Change.STILL_PASSES,
    (P, F): Change.NEWLY_FAILING,
    (P, E): Change.NEWLY_FAILING,
    (P, S): Change.NEWLY_SKIPPED,
    (P, X): Change.NEWLY_SKIPPED,
    (F, P): Change.FIXED,
    (E, P): Change.FIXED,
    (X, P): Change.FIXED,
    (S, P): Change.NO_LONGER_SKIPPED,
    (F, F): Change.STILL_FAILS,
    (F, E): Change.STILL_FAILS,
    (E, F): Change.STILL_FAILS,
    (E, E): Change.STILL_FAILS,
    (S, F): Change.NEWLY_FAILING,
    (S, E): Change.NEWLY_FAILING,
    (X, F): Change.NEWLY_FAILING,
    (X, E): Change.NEWLY_FAILING,
    (F, S): Change.NEWLY_SKIPPED,
    (F, X): Change.NEWLY_SKIPPED,
    (E, S): Change.NEWLY_SKIPPED,
    (E, X): Change.NEWLY_SKIPPED,
    (S, S): Change.STILL_SKIPPED,
    (S, X): Change.STILL_SKIPPED,
    (X, S): Change.STILL_SKIPPED,
    (X, X): Change.STILL_SKIPPED,
    **{(outcome, None): Change.REMOVED for outcome in Outcome},
    **{(None, outcome): Change.ADDED for outcome in Outcome},
}


@pytest.mark.parametrize(("sides", "change"), CHANGES.items())
def test_a_test_s_two_outcomes_have_one_word(sides: tuple[Outcome | None, Outcome | None], change: Change) -> None:
    before, after = ({"t": outcome} if outcome else {} for outcome in sides)
    (compared,) = compare([before], [after]).tests.values()
    assert compared.change is change


@given(RUNS, RUNS)
def test_every_test_of_either_side_has_exactly_one_word(
    before: list[Mapping[str, Outcome]], after: list[Mapping[str, Outcome]]
) -> None:
    found = compare(before, after)
    assert sorted(found.tests) == sorted({name for run in (*before, *after) for name in run})
    assert sorted(name for change in Change for name in found.named(change)) == sorted(found.tests)
    for name, compared in found.tests.items():
        sides = [{_coarse(run.get(name)) for run in runs} for runs in (before, after)]
        assert (compared.change is Change.FLAKY) == any(len(side) > 1 for side in sides)
        if compared.change is not Change.FLAKY:
            assert compared.change is CHANGES[before[0].get(name), after[0].get(name)]
    assert set(found.lost) <= {name for name in found.tests if all(run.get(name) is P for run in before)}
    for name in found.tests.keys() - set(found.named(Change.FLAKY)):
        was_green, is_green = before[0].get(name) is P, after[0].get(name) is P
        assert (name in found.lost) == (was_green and not is_green)


@given(RUNS)
def test_running_again_never_makes_more_certain(runs: list[Mapping[str, Outcome]]) -> None:
    assert compare(runs, runs).named(Change.FLAKY) == unsteady(runs)
    assert set(unsteady(runs[:-1])) <= set(unsteady(runs)) if len(runs) > 1 else unsteady(runs) == ()
    same = compare([runs[0]] * 3, [runs[0]])
    assert same.lost == ()
    assert same.named(Change.FLAKY, Change.ADDED, Change.REMOVED, Change.FIXED, Change.NEWLY_FAILING) == ()


def test_without_a_run_nothing_is_said() -> None:
    for before, after in (([], [{}]), ([{}], [])):
        with pytest.raises(ValueError, match="at least one run"):
            compare(before, after)
    assert compare([{}], [{"a": P, "b": F}]).added(P) == ("a",)
    assert compare([{"a": P}], [{"a": F}]).tests == {"a": Compared(P, F, Change.NEWLY_FAILING)}


def case(name: str, outcome: Outcome, **more: object) -> TestCase:
    return TestCase(name=name, outcome=outcome, **more)


def by_id(*cases: TestCase) -> dict[str, TestCase]:
    return {one.id: one for one in cases}


def test_what_shows_a_bug_fails_on_the_base_or_cannot_load_there() -> None:
    after = by_id(
        case("t", P, file="test_a.py"),
        case("u", P, file="test_a.py"),
        case("v", P, file="test_b.py"),
        case("w", P, group="test_c.T"),
        case("x", F, file="test_a.py"),
        case("y", P, file="test_d.py"),
        case("z", P, file="test_a.py", unsteady=True),
    )
    crossed = by_id(
        case("t", F, file="test_a.py"),
        case("u", P, file="test_a.py"),
        case("test_b", E, file="test_b.py", container=True),
        case("", E, group="test_c", container=True),
        case("x", F, file="test_a.py"),
        case("z", F, file="test_a.py"),
    )
    assert reproducing(crossed, after) == ("test_a.py::t", "test_b.py::v", "test_c.T::w")
    wobbling = by_id(case("t", F, file="test_a.py", unsteady=True))
    assert reproducing(wobbling, after) == ()
    assert reproducing({}, after) == ()


def _coarse(outcome: Outcome | None) -> Outcome | None:
    return F if outcome is E else outcome
