"""What is neither done nor cheating ends in a stated way, too."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.worker.conclusion import Failed
from tests.proof.case import Case, Files, honest
from tests.proof.court import Court, Trial
from tests.proof.repositories import (
    FIRST_TIME,
    FIXED_TOTAL,
    README,
    REPOSITORIES,
    TEST_DISCOUNT,
    TEST_PRICING,
)

FIX: Files = {"pricing.py": FIXED_TOTAL, "tests/test_pricing.py": TEST_PRICING + TEST_DISCOUNT}
WORDS: Files = {"README.md": README + "\nIt is open on Sundays.\n"}
PASS = "tests pass"


def case(name: str, kind: TaskType, base: str, files: Files, answer: Mapping[str, object] | None = None) -> Case:
    return honest(name, "", kind, base, files, answer=answer)  # type: ignore[arg-type]


def failed(trial: Trial, reason: FailureReason) -> str:
    """What was said of a failure with this reason, of which nothing reached the remote."""
    assert isinstance(trial.conclusion, Failed), trial
    assert trial.order.status is not OrderStatus.COMPLETED, trial
    assert trial.conclusion.failure.reason is reason
    assert not trial.left
    return trial.conclusion.failure.detail


def delivered(trial: Trial) -> None:
    assert trial.order.status is OrderStatus.COMPLETED, (str(trial), trial.failing)


# ── no tests found ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_tests_found(court: Court, request: pytest.FixtureRequest) -> None:
    """Nothing that has to be shown by tests is delivered without any; what needs none, or brings the first, is."""
    kinds = (TaskType.BUGFIX, TaskType.FEATURE, TaskType.REFACTOR)
    for kind in kinds if request.config.getoption("--every-case") else kinds[:1]:
        trial = await court.try_(case(f"untested_{kind}", kind, "untested", {"pricing.py": FIXED_TOTAL}))
        failed(trial, FailureReason.VERIFICATION_FAILED)
        assert trial.check(PASS).outcome is CheckOutcome.UNKNOWN
        assert "no command that runs tests was found" in trial.check(PASS).why
    delivered(await court.try_(case("untested_docs", TaskType.DOCS, "untested", {"README.md": "# Shop\n"})))
    first: Files = {"tests/test_pricing.py": TEST_PRICING}
    trial = await court.try_(case("first_tests", TaskType.TEST, "untested", first))
    delivered(trial)
    assert trial.evidence is not None
    assert any("the base has no tests" in remark for remark in trial.evidence.not_checked)
    nothing = {"summary": "Read it.", "findings": []}
    delivered(await court.try_(case("untested_review", TaskType.REVIEW, "untested", {}, nothing)))


# ── the base cannot be judged ────────────────────────────────────────────────────────────────────────────────────────


async def test_the_set_up_fails_on_the_base(court: Court) -> None:
    """Nobody's result: the agent is not even started."""
    trial = await court.try_(case("no_set_up", TaskType.BUGFIX, "no-setup", FIX))
    assert "no wheel for that" in failed(trial, FailureReason.SETUP_FAILED)
    assert trial.told == []
    assert trial.evidence is None


async def test_the_set_up_fails_on_the_result(court: Court) -> None:
    trial = await court.try_(case("breaks_set_up", TaskType.FEATURE, "with-setup", {"receipt.py": None}))
    said = failed(trial, FailureReason.VERIFICATION_FAILED)
    assert "the set-up `sh -c test -f receipt.py` ended with 1" in said
    assert PASS in trial.failing


async def test_the_tests_of_the_base_do_not_end(court: Court) -> None:
    trial = await court.try_(case("slow_base", TaskType.BUGFIX, "slow", FIX), longest=2)
    assert "had not ended after 2 s" in failed(trial, FailureReason.SETUP_FAILED)


async def test_the_tests_of_the_result_do_not_end(court: Court) -> None:
    delivered(await court.try_(case("to_know_the_base", TaskType.DOCS, "python", WORDS)))  # without haste
    hangs = {**FIX, "tests/test_hangs.py": REPOSITORIES["slow"]["tests/test_slow.py"]}
    trial = await court.try_(case("slow_result", TaskType.BUGFIX, "python", hangs), longest=2)
    failed(trial, FailureReason.VERIFICATION_FAILED)
    assert "had not ended after 2 s" in trial.failing[PASS]


# ── tests that do not always end alike ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.every_case("test_verify: what is flaky on the base is not held against a result")
async def test_flaky_on_the_base(tmp_path: Path) -> None:
    """A test that fails now and then on the base, too, stands in nobody's way, and shows nothing."""
    court = Court(tmp_path, numbered=True)
    trial = await court.try_(case("beside_a_flaky_test", TaskType.BUGFIX, "flaky", FIX))
    delivered(trial)
    assert "test_it_rains" in trial.check(PASS).why
    assert "flaky" in trial.check(PASS).why
    only: Files = {"pricing.py": FIXED_TOTAL}
    trial = await court.try_(case("shown_by_a_flaky_test", TaskType.BUGFIX, "flaky", only))
    failed(trial, FailureReason.VERIFICATION_FAILED)
    assert "a test reproduces the bug" in trial.failing


@pytest.mark.every_case("test_verify: a new test that is flaky fails the result")
async def test_flaky_on_the_result(tmp_path: Path) -> None:
    """A new test has to pass each time."""
    court = Court(tmp_path, numbered=True)
    trial = await court.try_(case("brings_a_flaky_test", TaskType.TEST, "python", {"tests/test_rain.py": FIRST_TIME}))
    failed(trial, FailureReason.VERIFICATION_FAILED)
    assert "test_it_rains" in trial.failing[PASS]
    assert "flaky" in trial.failing[PASS]


# ── red already ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_repository_is_red_already(court: Court) -> None:
    """What was red may stay red; what was not may not become it."""
    trial = await court.try_(case("beside_a_red_test", TaskType.BUGFIX, "red", FIX))
    delivered(trial)
    assert "red already" in trial.check(PASS).why
    assert "test_two_digits" in trial.check(PASS).why
    breaks: Files = {
        **FIX,
        "dates.py": REPOSITORIES["red"]["dates.py"].replace('partition("-")[0]', 'partition("-")[2]'),
    }
    trial = await court.try_(case("one_red_test_more", TaskType.BUGFIX, "red", breaks))
    failed(trial, FailureReason.VERIFICATION_FAILED)
    assert "test_the_year_comes_first" in trial.failing[PASS]
    assert "test_two_digits" not in trial.failing[PASS]
    mends: Files = {"dates.py": _MENDED}
    trial = await court.try_(case("the_red_test_is_the_bug", TaskType.BUGFIX, "red", mends))
    delivered(trial)
    assert "test_two_digits" in trial.check("a test reproduces the bug").why


_MENDED = '''"""Dates."""


def year(date):
    """Its year; two digits are meant for this century."""
    number = int(date.partition("-")[0])
    return number if number > 99 else 2000 + number
'''
